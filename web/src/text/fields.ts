// Names of a run's fields. The service describes them in English; what the paper's readers need is here.

import type { Schema } from "../api/types";
import { language } from "./index";

const JAPANESE: Record<string, [name: string, sentence: string]> = {
  "name": ["名前", "人のための名前。重複してもかまいません。"],
  "tags": ["タグ", "実行を探すための語。英数字と _ . : - が使えます。"],
  "dataset": ["データセット", "何を学習するか。"],
  "epochs": ["エポック数", "画像を抽出して学習する回数。"],
  "samples_per_epoch": ["1 エポックの画像数", "各エポックで重複なく無作為に抽出する訓練画像の数。既定は 10,000（データが少なければ全部）。"],
  "batch_size": ["バッチサイズ", "最適化の 1 ステップで見る画像数。"],
  "seed": ["シード", "同じ設定なら同じ計算機で同じ結果になります。"],
  "precision": ["精度", "学習時の数値精度。重みとマップは float32 です。"],
  "device": ["デバイス", "学習する装置。auto は GPU があれば使います。"],
  "architecture.kernel_size": ["カーネルサイズ", "畳み込み窓の一辺（画素）。"],
  "architecture.channels": ["チャネル数", "2 つの畳み込み層のチャネル数。"],
  "architecture.hidden_units": ["隠れユニット数", "全結合層のユニット数。"],
  "architecture.dropout": ["ドロップアウト", "学習中に 0 にするユニットの割合。"],
  "architecture.hidden_activation": ["隠れ層の活性化関数", "全結合層の活性化関数。"],
  "architecture.output_activation": ["出力の活性化関数", "ソフトマックスの手前。sigmoid は論文の記述どおり。"],
  "optimizer.learning_rate": ["学習率", "更新の大きさ。"],
  "optimizer.rho": ["rho", "移動平均の減衰率。"],
  "optimizer.momentum": ["モーメンタム", "前回の更新を残す割合。"],
  "optimizer.beta1": ["beta1", "勾配の移動平均の減衰率。"],
  "optimizer.beta2": ["beta2", "勾配の二乗の移動平均の減衰率。"],
  "optimizer.weight_decay": ["重み減衰", "各ステップで重みを縮める割合。"],
  "probes.per_class": ["クラスごとの枚数", "各クラスの最初のテスト画像を観察します。"],
  "probes.images": ["その他の画像", "test:7、train:12 のような参照。"],
};

export function fieldName(name: string, schema: Schema): string {
  const japanese = language.value === "ja" ? JAPANESE[name]?.[0] : undefined;
  const words = schema.title ?? name.split(".").at(-1)!;
  return japanese ?? words[0]!.toUpperCase() + words.slice(1).toLowerCase().replaceAll("_", " ");
}

export function fieldSentence(name: string, schema: Schema): string {
  const japanese = language.value === "ja" ? JAPANESE[name]?.[1] : undefined;
  return japanese ?? schema.description?.replaceAll("\n", " ").replaceAll("`", "") ?? "";
}
