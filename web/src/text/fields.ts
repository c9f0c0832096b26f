// Japanese names and descriptions of a run's fields. The service describes them in English only.

import type { Schema } from "../api/types";
import { language } from "./index";

const JAPANESE: Record<string, [name: string, description: string]> = {
  "name": ["名前", "表示名。重複してもかまいません。"],
  "tags": ["タグ", "実行を絞り込むためのラベル。英数字と _ . : - が使えます。"],
  "dataset": ["データセット", "学習に使うデータセット。"],
  "epochs": [
    "エポック数",
    "エポックの数。各エポックで samples_per_epoch 枚の訓練画像を抽出します。0 では学習せず、そのままのネットワークを説明します。",
  ],
  "samples_per_epoch": [
    "1 エポックの画像数",
    "各エポックで重複なく無作為に抽出する訓練画像の数。既定は 10,000（訓練データがそれより少なければ全部）。",
  ],
  "batch_size": ["バッチサイズ", "最適化の 1 ステップあたりの画像数。"],
  "seed": [
    "乱数シード",
    "CPU では、設定と environment が同じなら、同時に学習する実行の数によらずビット単位で同じ結果になります。GPU では異なることがあります。",
  ],
  "precision": ["精度", "学習時の数値精度。重みとマップは常に float32 です。"],
  "device": ["デバイス", "学習に使うデバイス。auto は GPU があれば使います。cuda には GPU が必要です。"],
  "architecture.kernel_size": [
    "カーネルサイズ",
    "2 つの畳み込みカーネルの一辺（奇数）。28 x 28 の画像では最大 13 です。",
  ],
  "architecture.channels": ["チャネル数", "2 つの畳み込み層の出力チャネル数。"],
  "architecture.hidden_units": ["隠れユニット数", "最初の全結合層のユニット数。"],
  "architecture.dropout": ["ドロップアウト", "各ステップで無効にする隠れユニットの割合。"],
  "architecture.hidden_activation": ["隠れ層の活性化関数", "隠れユニットの活性化関数。"],
  "architecture.output_activation": [
    "出力の活性化関数",
    "最終層とソフトマックスの間の活性化関数。論文の記述では sigmoid です。",
  ],
  "architecture.pooling": ["プーリング", "S2 と S4 のプーリング。1998 年のネットワークは平均（average）です。"],
  "architecture.weights": [
    "初期の重み",
    "学習を始める重み。none は乱数、default は torchvision のもの、file:<name> はデータディレクトリの weights にある state dict。クラス数が違うとき、最終層は乱数になります。",
  ],
  "architecture.trainable": [
    "学習する部分",
    "all は全部、head は最終層だけ、または layer4 のようなモジュール名。残りは固定され、評価モードのままです。",
  ],
  "label_smoothing": ["ラベル平滑化", "訓練損失で、目標の確率のうち全クラスに均等に配る割合。"],
  "keep_states": [
    "残す学習状態",
    "学習状態を残すエポック。last は再開に使う最後のものだけ、all は全部、every:<n> は n エポックごとに残します。",
  ],
  "schedule.warmup_epochs": [
    "ウォームアップのエポック数",
    "最初のエポックの数。その間、学習率は最適化手法の学習率まで直線的に増えます（Goyal ほか 2017）。",
  ],
  "schedule.span_epochs": [
    "スケジュールのエポック数",
    "ウォームアップを含むスケジュールの長さ。以降のエポックは最後の学習率のままです。既定は実行の作成時のエポック数。",
  ],
  "schedule.final_factor": [
    "最終倍率",
    "コサインが終わるときの、学習率に対する倍率。スケジュールの次のエポックにあたります。",
  ],
  "schedule.interval_epochs": ["間隔のエポック数", "学習率を下げる間隔。"],
  "schedule.reduction_factor": ["低減倍率", "下げるたびに学習率に掛ける倍率。"],
  "plant.kind": ["埋め込むもの", "画像に与える性質。"],
  "plant.class_index": ["クラス番号", "その性質をもつ画像のクラス。"],
  "plant.correlation": ["相関", "クラスの画像のうち性質をもつものの割合。ほかの画像では 1 からこれを引いた割合です。"],
  "plant.test": [
    "テスト画像",
    "present は学習画像と同じように、absent はなし、shuffled は同じ頻度でクラスによらず性質をもたせます。",
  ],
  "plant.seed": ["埋め込みの乱数シード", "どの画像が性質をもつか。"],
  "augmentation.flip_probability": ["反転の確率", "画像を左右反転する確率。反転すると数字の意味が変わります。"],
  "augmentation.shift_fraction": [
    "平行移動の割合",
    "各辺の長さに対する最大の移動量。画像の外から入る画素は、データセットの背景の値になります。",
  ],
  "augmentation.crop_padding": [
    "切り抜きの余白",
    "各辺に背景の値で加える画素数。そこから元の大きさの領域を無作為に切り抜きます。",
  ],
  "optimizer.learning_rate": ["学習率", "更新の大きさ。"],
  "optimizer.rho": ["rho", "移動平均の減衰率。"],
  "optimizer.momentum": ["モーメンタム", "前回の更新を次の更新に加える割合。"],
  "optimizer.weight_decay": ["重み減衰", "重み減衰の係数。重みを 0 に近づけます。"],
  "probes.per_class": ["クラスごとの枚数", "各クラスの最初の N 枚のテスト画像。"],
  "probes.images": ["追加の画像", "test:7、train:12、upload:<id> のような参照で指定します。"],
};

/** The field's label: its Japanese name, or the schema's title in sentence case. */
export function fieldLabel(name: string, schema: Schema): string {
  const japanese = language.value === "ja" ? JAPANESE[name]?.[0] : undefined;
  const title = schema.title ?? name.split(".").at(-1)!;
  return japanese ?? title[0]!.toUpperCase() + title.slice(1).toLowerCase().replaceAll("_", " ");
}

export function fieldDescription(name: string, schema: Schema): string {
  const japanese = language.value === "ja" ? JAPANESE[name]?.[1] : undefined;
  return japanese ?? schema.description?.replaceAll("\n", " ").replaceAll("`", "") ?? "";
}
