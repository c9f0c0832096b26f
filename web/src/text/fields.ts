// Japanese names and descriptions of a run's fields. The service describes them in English only.

import type { Schema } from "../api/types";
import { language } from "./index";

const JAPANESE: Record<string, [name: string, description: string]> = {
  "name": ["名前", "表示名。重複してもかまいません。"],
  "tags": ["タグ", "実行を絞り込むためのラベル。英数字と _ . : - が使えます。"],
  "dataset": ["データセット", "学習に使うデータセット。"],
  "epochs": ["エポック数", "エポックの数。各エポックで samples_per_epoch 枚の訓練画像を抽出します。"],
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
  "optimizer.learning_rate": ["学習率", "更新の大きさ。"],
  "optimizer.rho": ["rho", "移動平均の減衰率。"],
  "optimizer.momentum": ["モーメンタム", "前回の更新を次の更新に加える割合。"],
  "optimizer.weight_decay": ["重み減衰", "重み減衰の係数。各ステップで、この係数と学習率の積だけ重みを縮めます。"],
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
