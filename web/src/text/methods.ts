// Titles and descriptions of methods, targets and parameters. The service describes them in English only.

import type { Method, Schema, Target } from "../api/types";
import { fieldLabel } from "./fields";
import { language, tIfKnown } from "./index";

const METHODS: Record<string, string> = {
  "conventional": "通常の Grad-CAM。シグモイドやソフトマックスが飽和すると消えます。",
  "proposed": "最終層のユニットを、シグモイドとソフトマックスの前で微分します。",
  "grad-cam": "各チャネルを、位置について平均した勾配で重み付けします。",
  "grad-cam++": "正の勾配に重みを付けます。チャネルの活性が大きいところでは小さくします。",
  "smooth-grad-cam++": "ノイズを加えた画像の複製について微分係数を平均した Grad-CAM++。",
  "x-grad-cam": "各チャネルを、活性で加重平均した勾配で重み付けします。",
  "hires-cam": "位置ごとの勾配と活性の積。区分線形なヘッドでは、バイアスを除いて和がスコアに一致します。",
  "element-wise-grad-cam": "勾配と活性の積の正の部分。",
  "layer-cam": "活性を、それ自身の正の勾配で重み付けします。",
  "layer-integrated-gradients":
    "ゼロを基準とする経路に沿って平均した、勾配と活性の積。和は、この層がスコアに加える量です。",
  "finer-cam": "クラスと、それに最も似たクラスとの差の Grad-CAM。",
  "shapley-cam": "ヘッドの曲率で勾配を補正した Grad-CAM。",
  "refine-cam": "複数の層の Grad-CAM++ マップの積。すべての層が一致するところで高くなります。",
  "eigen-grad-cam": "勾配と活性の積の第 1 主成分。",
  "seg-eigen-cam": "勾配の絶対値と活性の積の第 1 主成分。",
  "cam": "最終層の重み。その下に大域平均プーリングが必要です。",
  "eigen-cam": "活性の第 1 主成分。クラスによりません。",
  "kpca-cam": "活性のカーネル主成分分析の第 1 成分。クラスによりません。",
  "fem": "チャネルを、強く反応する頻度で重み付けします。クラスによりません。",
  "random": "対照：チャネルの重みが乱数です。これに勝てない手法は何も説明していません。",
  "score-cam": "各チャネルを、そのチャネルでマスクした画像のスコアで重み付けします。",
  "ss-cam": "マスクに加えたノイズについてスコアを平均した Score-CAM。",
  "is-cam": "マスクした画像を明るくしながらスコアを平均した Score-CAM。",
  "ablation-cam": "各チャネルを、それを除いたときにスコアが失う量で重み付けします。",
  "full-grad": "画素と、すべての畳み込みと正規化のバイアスが、スコアに寄与する量の和。",
  "guided-backpropagation": "画素についての勾配。ReLU は正の部分だけを逆伝播します。クラスよりも画像の輪郭を示します。",
  "smooth-grad": "画素についての勾配を、ノイズを加えた画像の複製について平均します。",
  "integrated-gradients": "基準画像からの経路に沿った勾配と画素の差の積。和は、画像が基準画像のスコアに加える量です。",
  "occlusion": "基準画像の正方形が画素を隠す間に、スコアが失う量。",
  "lime": "画像のどのパッチが見えるかからスコアを予測する線形モデル。",
};

const TARGETS: Record<string, string> = {
  "softmax": "ソフトマックスの後のクラススコア。シグモイドやソフトマックスが飽和すると消えます。",
  "unit": "出力の活性化関数の前のユニット（酒井・竹中 2019、式 4）。",
  "output": "出力の活性化関数の後、ソフトマックスの前のユニット。",
  "log-softmax": "対数確率。勾配が消えるのは、クラスの確率が 1 に近いところだけです。",
  "centered": "ユニットから全クラスの平均を引いた値。すべてのクラスを同じだけ上げるものは打ち消されます。",
  "margin": "ユニットから、他のクラスで最も強いユニットを引いた値。",
  "contrast": "ユニットから、指定したクラス d のユニットを引いた値：なぜ d ではなく c なのか。",
};

const PARAMETERS: Record<string, string> = {
  "samples": "サンプル数",
  "seed": "乱数シード",
  "noise": "ノイズ",
  "steps": "分割数",
  "references": "比較するクラス数",
  "gamma": "ガンマ",
  "window": "窓の一辺",
  "stride": "間隔",
  "patch": "パッチの一辺",
};

const PARAMETER_NOTES: Record<string, string> = {
  "Random samples averaged.": "平均する乱数サンプルの数。",
  "Noisy images averaged.": "平均する、ノイズを加えた画像の数。",
  "Images with hidden patches.": "パッチを隠した画像の数。",
  "Points of the integral.": "積分の点の数。",
  "Points of the midpoint rule.": "中点則の点の数。",
  "Points of the Gauss-Legendre rule.": "ガウス・ルジャンドル則の点の数。",
  "Seed of the random numbers.": "乱数のシード。",
  "Standard deviation of the noise; pixels are in 0..1.": "ノイズの標準偏差。画素は 0～1 です。",
  "Standard deviation of the noise; masks are in 0..1.": "ノイズの標準偏差。マスクは 0～1 です。",
  "Standard deviation; pixels are in 0..1.": "標準偏差。画素は 0～1 です。",
  "Number of most similar classes compared with; at most all others.": "比較する、最も似たクラスの数。",
  "Weight of their mean.": "それらの平均の重み。",
  "Side of the square, in pixels.": "正方形の一辺（画素）。",
  "Pixels between squares; at most the window.": "正方形の間隔（画素）。窓の一辺以下です。",
  "Side of the square patches, in pixels.": "正方形のパッチの一辺（画素）。",
};

/** The page's own title of a method of the paper, else the catalogue's. */
export const methodTitle = ({ name, title }: Pick<Method, "name" | "title">): string =>
  tIfKnown(`method.${name}`) ?? title;

const translated = (texts: Record<string, string>, key: string, english: string): string =>
  (language.value === "ja" ? texts[key] : undefined) ?? english;

export const methodDescription = ({ name, description }: Method): string => translated(METHODS, name, description);

export const targetDescription = ({ name, description }: Target): string => translated(TARGETS, name, description);

export const parameterLabel = (name: string, schema: Schema): string =>
  translated(PARAMETERS, name, fieldLabel(name, schema));

export const parameterDescription = ({ description = "" }: Schema): string =>
  translated(PARAMETER_NOTES, description, description);
