"""The report in Japanese."""

from service.report.texts import Texts

JAPANESE = Texts(
    language="ja",
    report="レポート",
    run="実行 {id}",
    contents="目次",
    status="状態",
    statuses={
        "queued": "待機中",
        "running": "実行中",
        "succeeded": "完了",
        "failed": "失敗",
        "cancelled": "中止",
    },
    run_in_progress="このレポートの作成時、実行は終了していませんでした。その時点までの内容です。",
    dataset="データセット",
    tags="タグ",
    created="作成",
    started="開始",
    finished="終了",
    epochs_completed="エポック",
    epochs_of_total="{done} / {total}",
    epochs_covered=(
        "このレポートの対象は、実行の全 {total} エポックのうち {first} から {last} までの {count} "
        "エポックです。エポック 0 は未学習のネットワークです。"
    ),
    last_test_accuracy="テスト正解率",
    value_at_epoch="{value}（エポック {epoch}）",
    no_epochs_yet="この実行にはまだエポックがありません。示せるのは設定だけです。",
    ended_without_epochs=(
        "この実行は最初のエポックが保存される前に終了しました。示せるのは設定だけです。"
    ),
    legend="図の見方",
    legend_map=(
        "小さな絵の 1 枚 1 枚がマップです。あるエポックのネットワークが、画像のクラスの根拠を画像"
        "のどこから得たかを色で示します。黄色は強い根拠で、根拠のないところは画像がそのまま見えま"
        "す。1 行のマップは同じスケールを使うため、学習とともに弱まるマップは薄く見えます。"
    ),
    legend_strength=(
        "絵の下の棒は、正規化前のマップの最大値を対数で示します。空は {weakest}、全長は "
        "{strongest} です。"
    ),
    legend_blank=(
        "正規化前の最大値が {epsilon} 以下のマップを空白と呼び、画像を暗くして斜線を付けます。原因"
        "は 4 つあります。"
    ),
    cause_names={
        "saturated": "飽和",
        "all-negative": "すべて負",
        "dead": "活性なし",
        "not-finite": "非有限",
    },
    cause_descriptions={
        "saturated": (
            "スコアの勾配が消えました。ソフトマックスの確信が強く、何をしても変化しない場合に起こ"
            "ります。"
        ),
        "all-negative": "重み付き和がどこでも正にならず、何も残りません。",
        "dead": "この画像では層が活性化していません。",
        "not-finite": "マップの値が無限大または非数です。重みが発散した場合に起こります。",
    },
    findings="所見",
    no_findings="調べた範囲に目立つ点はありません。",
    evidence="根拠",
    evidence_names={
        "exchange_share": "根拠の割合",
        "recall_lost": "再現率の低下",
        "images_turned": "このクラスに変わったほかの画像",
    },
    evidence_value="{value}（しきい値 {threshold}、n = {n}）",
    value_without_threshold="{value}（n = {n}）",
    epochs_of_finding="エポック {first} から {last}",
    refutation="反証となるもの：",
    exchange_map="交換マップ",
    exchange_map_note=(
        "ほかの画像を各クラスに変えるのはどのピクセルかを示します。対象物から離れた 1 か所ならショ"
        "ートカット、線ならクラスそのものの形です。"
    ),
    class_means="クラスの平均マップ",
    class_means_note="赤はクラスを支持し、青は否定します。",
    curves="曲線",
    loss="損失（ナット）",
    accuracy="正解率",
    blank_fraction="空白のマップの割合",
    train_images="学習画像",
    test_images="テスト画像",
    epoch_axis="エポック",
    curve_description=(
        "{label}：エポック {first_epoch} で {first}、エポック {last_epoch} で {last}、最小 {low}、"
        "最大 {high}。"
    ),
    curve_empty="{label}：値なし。",
    training_accuracy_note=(
        "訓練画像の正解率は、重みが変わりドロップアウトが有効な学習中の平均です。そのためテスト画像の正解"
        "率より低くなることがあります。"
    ),
    axis_start="軸は {low} から始まります（最初のエポックはこれより下）。",
    maps="マップ",
    maps_of_method="{title}のマップ",
    method_titles={
        "conventional": "従来手法（ソフトマックス後のクラススコアの Grad-CAM）",
        "proposed": "提案手法（出力の活性化関数の手前のユニットの Grad-CAM）",
    },
    layer="層 {layer}",
    sheet_axes="行は実行が観察する画像、列はエポックです。",
    all_epochs_shown="すべてのエポックを示します。",
    sampled_epochs_shown=(
        "全 {total} エポックのうち {shown} エポックを、{step} エポックごとの等間隔で（最後のエポッ"
        "クを含めて）示します。"
    ),
    sheet_alt=(
        "{method} の一覧：{rows} 枚の画像、{columns} エポック。このレポートの全エポックでは "
        "{total} 枚中 {blank} 枚が空白（{causes}）。"
    ),
    full_size="原寸で表示",
    blank_maps="空白のマップ",
    blank_count_note=(
        "下に示していないものも含む、このレポートの全 {epochs} エポックの集計です。最大値が "
        "{epsilon} 以下のものを空白とします。"
    ),
    method="手法",
    map_count="マップ",
    blank="空白",
    fraction="割合",
    epochs="エポック一覧",
    epoch_column="エポック",
    train_loss="学習損失",
    test_loss="テスト損失",
    train_accuracy="学習正解率",
    test_accuracy="テスト正解率",
    learning_rate="学習率",
    seconds="秒",
    blank_of_method="空白（{method}）",
    class_accuracy="クラス別のテスト正解率（エポック {epoch}）",
    class_column="クラス",
    settings="実行の設定",
    settings_note="名前は API および camreel train --set のものです。",
    provenance="作成方法",
    generator=(
        "Camreel {version} が実行 {id} から作成しました。表示に必要なものはすべてこのファイルに含"
        "まれ、スクリプトや外部からの読み込みはありません。"
    ),
    last_epoch_note=(
        "最後のエポックは {epoch}（保存日時 {when}）で、そのチェックポイントの SHA-256 は "
        "{checkpoint} です。"
    ),
    map_rendering_note=(
        "マップは画像に {colormap} の色で重ね、行ごとに 1 つのスケールで、画像自身のクラスについて"
        "描いています。"
    ),
    command_note="実行が変わらない限り、次のコマンドで同じファイルが得られます。",
)
