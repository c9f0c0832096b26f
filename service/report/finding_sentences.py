"""Sentences about findings, in the languages of reports. Each kind has its templates here."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.core.insight.finding import Evidence, Finding, Region, Severity, Unavailable
from service.report import training_sentences
from service.report.languages import Language


@dataclass(frozen=True)
class FindingText:
    """What a finding says, what would refute it, and how much it matters."""

    sentence: str
    refutation: str
    severity: str


@dataclass(frozen=True)
class FindingTemplates:
    """The texts of one language. The fields of a template are those of `_values`."""

    titles: Mapping[str, str]  # by kind
    sentences: Mapping[str, str]  # by kind
    refutations: Mapping[str, str]  # by kind
    properties: Mapping[str, str]  # by exchange operator
    severities: Mapping[Severity, str]
    causes: Mapping[str, str]  # of blank maps
    reasons: Mapping[str, str]  # why a kind is unavailable
    changes: str
    evidence_only: str
    location: str
    whole_surround: str
    fallback: str
    unavailable: str


ENGLISH = FindingTemplates(
    titles=training_sentences.ENGLISH_TITLES | {"shortcut": "Shortcuts"},
    sentences=training_sentences.ENGLISH_SENTENCES
    | {
        "shortcut-surround": (
            "Class {classes} is decided in part by {property}, not by the object: {share} of the "
            "evidence for it moves with that property from image to image.{location} {effect}"
        ),
        "shortcut-object": (
            "Class {classes} is decided in part by {property}: {share} of the evidence for it "
            "moves with that property from image to image. {effect}"
        ),
    },
    refutations=training_sentences.ENGLISH_REFUTATIONS
    | {
        "shortcut-surround": (
            "Test images of this class without that property, which the network recognizes as "
            "well as others; or a class that truly consists of it."
        ),
        "shortcut-object": (
            "Test images of this class with the property of other classes, which the network "
            "recognizes as well; or a property that defines the class."
        ),
    },
    properties={
        "surround": "the surroundings of the object",
        "level": "the gray level of the background",
        "ink": "the contrast of the object",
        "position": "the position of the object",
        "size": "the size of the object",
        "sharpness": "the sharpness of the image",
        "hue": "the color of the image",
        "saturation": "the saturation of the colors",
    },
    severities={
        Severity.CHANGES_PREDICTIONS: "Changes predictions",
        Severity.EVIDENCE_ONLY: "Evidence only",
        Severity.WARNING: "Warning",
        Severity.NOTE: "Note",
    },
    causes=training_sentences.ENGLISH_CAUSES,
    reasons=training_sentences.ENGLISH_REASONS
    | {
        "not-tested": (
            "no exchange test was recorded, as with runs of earlier versions; it can be computed"
        ),
        "no-plausible-object": (
            "too many images of some class have no object that stands out from a uniform "
            "background, and the dataset has no masks"
        ),
        "too-few-images": "there are too few labeled images",
        "classes-not-separated": "the network does not separate the classes of these images",
        "over-budget": (
            "the test would have taken more than its share of the training time; it can be computed"
        ),
        "not-finite": "the network's outputs are not finite",
    },
    changes=(
        "Exchanging it costs up to {recall_lost} of the class's recall and turns {turned} of the "
        "other images into the class."
    ),
    evidence_only="It changes few predictions of the examined images.",
    location=" Half of it or more lies in {width} x {height} pixels from column {left}, row {top}.",
    whole_surround=" It is spread over the whole surroundings.",
    fallback="{kind}: {classes}",
    unavailable="{kind} could not be examined: {reason}.",
)

JAPANESE = FindingTemplates(
    titles=training_sentences.JAPANESE_TITLES | {"shortcut": "ショートカット"},
    sentences=training_sentences.JAPANESE_SENTENCES
    | {
        "shortcut-surround": (
            "クラス {classes} の判定は、対象物ではなく{property}に一部依存しています。"
            "根拠の {share} が、この性質とともに画像から画像へ移ります。{location}{effect}"
        ),
        "shortcut-object": (
            "クラス {classes} の判定は、{property}に一部依存しています。"
            "根拠の {share} が、この性質とともに画像から画像へ移ります。{effect}"
        ),
    },
    refutations=training_sentences.JAPANESE_REFUTATIONS
    | {
        "shortcut-surround": (
            "この性質をもたない同じクラスのテスト画像が同じように認識されれば、"
            "またはこの性質がクラスそのものであれば、この所見は当たりません。"
        ),
        "shortcut-object": (
            "ほかのクラスの性質をもつ同じクラスのテスト画像が同じように認識されれば、"
            "またはこの性質がクラスを定義するなら、この所見は当たりません。"
        ),
    },
    properties={
        "surround": "対象物の周囲",
        "level": "背景の明るさ",
        "ink": "対象物のコントラスト",
        "position": "対象物の位置",
        "size": "対象物の大きさ",
        "sharpness": "画像の鮮明さ",
        "hue": "画像の色",
        "saturation": "色の彩度",
    },
    severities={
        Severity.CHANGES_PREDICTIONS: "予測が変わる",
        Severity.EVIDENCE_ONLY: "根拠のみ",
        Severity.WARNING: "警告",
        Severity.NOTE: "参考",
    },
    causes=training_sentences.JAPANESE_CAUSES,
    reasons=training_sentences.JAPANESE_REASONS
    | {
        "not-tested": "交換テストが記録されていません（以前のバージョンの実行など）。計算できます",
        "no-plausible-object": (
            "一様な背景から際立つ対象物のない画像が多すぎるクラスがあり、データセットにマスクがありません"
        ),
        "too-few-images": "ラベル付きの画像が少なすぎます",
        "classes-not-separated": "ネットワークがこれらの画像のクラスを区別していません",
        "over-budget": "テストが学習時間に対する上限を超えるため省かれました。計算できます",
        "not-finite": "ネットワークの出力が有限ではありません",
    },
    changes=(
        "この性質を交換すると、クラスの再現率が最大 {recall_lost} 下がり、"
        "ほかの画像の {turned} がこのクラスと判定されます。"
    ),
    evidence_only="調べた画像の予測はほとんど変わりません。",
    location="その半分以上が、列 {left}、行 {top} からの {width} x {height} ピクセルにあります。",
    whole_surround="周囲全体に広がっています。",
    fallback="{kind}：{classes}",
    unavailable="{kind} は調べられませんでした：{reason}。",
)

TEMPLATES: dict[Language, FindingTemplates] = {"en": ENGLISH, "ja": JAPANESE}
"""By language; a new kind of finding has its templates in each."""


def describe_finding(
    finding: Finding, class_names: Sequence[str], language: Language
) -> FindingText:
    """The sentence and the refutation of a finding. Numbers are those of its evidence."""
    templates = TEMPLATES[language]
    values = _values(finding, class_names, templates)
    sentence = templates.sentences.get(finding.kind, templates.fallback)
    refutation = templates.refutations.get(finding.kind, "")
    return FindingText(
        " ".join(sentence.format_map(defaultdict(lambda: "-", values)).split()),
        refutation.format_map(values),
        templates.severities[finding.severity],
    )


def describe_unavailable(gap: Unavailable, language: Language) -> str:
    """Why a kind of finding could not be examined."""
    templates = TEMPLATES[language]
    reason = templates.reasons.get(gap.reason, gap.reason)
    return templates.unavailable.format(
        kind=templates.titles.get(gap.kind, gap.kind), reason=reason
    )


def _values(
    finding: Finding, class_names: Sequence[str], templates: FindingTemplates
) -> dict[str, str]:
    evidence = {item.name: item.value for item in finding.evidence}
    changes = templates.changes.format(
        recall_lost=_percent(evidence.get("recall_lost")),
        turned=_percent(evidence.get("images_turned")),
    )
    is_severe = finding.severity is Severity.CHANGES_PREDICTIONS
    first_epoch, last_epoch = finding.epochs or ("-", "-")
    return {
        **{item.name: _format_evidence(item) for item in finding.evidence},
        "first_epoch": str(first_epoch),
        "last_epoch": str(last_epoch),
        "cause": templates.causes.get(finding.attribute, finding.attribute),
        "kind": finding.kind,
        "classes": ", ".join(class_names[index] for index in finding.class_indices),
        "property": templates.properties.get(finding.attribute, finding.attribute),
        "share": _percent(evidence.get("exchange_share")),
        "effect": changes if is_severe else templates.evidence_only,
        "location": _location(finding.region, templates),
    }


def _location(region: Region | None, templates: FindingTemplates) -> str:
    if region is None:
        return ""
    return (
        templates.whole_surround
        if region.share >= 1
        else templates.location.format_map(vars(region))
    )


_SHARES = frozenset({"accuracy_gap", "dropout", "largest_fall", "median_confidence"})


def _format_evidence(evidence: Evidence) -> str:
    name = evidence.name
    if name in _SHARES or "share" in name.split("_"):
        return _percent(evidence.value)
    return f"{evidence.value:.3g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{max(0.0, share):.0%}"
