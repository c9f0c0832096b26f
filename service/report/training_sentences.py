"""Sentences about findings of training, by kind. Their fields are those of the rules' evidence."""

ENGLISH_SENTENCES = {
    "diverging": "Training diverged: the loss is not finite from epoch {first_epoch} on.",
    "exploding-gradients": (
        "Gradients exploded at epoch {first_epoch}: the largest norm is {gradient_norm_ratio} "
        "times "
        "the median."
    ),
    "learning-rate-too-low": (
        "The learning rate is probably too low, or the training too short: {late_gain_share} "
        "of the "
        "fall of the test loss came after epoch {first_epoch}, and it still falls."
    ),
    "learning-rate-too-high": (
        "The learning rate is probably too high: from epoch to epoch the training loss rises by "
        "{loss_rise_share} of its mean, and its largest value is {largest_loss_by_chance} "
        "times the "
        "loss of guessing."
    ),
    "overfitting": (
        "The network overfits: since epoch {first_epoch} the test loss has risen to "
        "{test_loss_ratio} times its minimum, while the training loss fell. It is "
        "{loss_gap_ratio} times the training loss now."
    ),
    "blank-maps": (
        "Maps are blank because {cause}: {blank_share_conventional} of the conventional and "
        "{blank_share_proposed} of the proposed method, at epoch {last_epoch}."
    ),
    "dead-units": (
        "{dead_unit_share} of the rectified units are 0 for every examined image at epoch "
        "{last_epoch}."
    ),
    "saturated-outputs": (
        "The outputs are saturated: for {saturated_share} of the examined images, the probability "
        "of the class no longer reacts to its pre-activation at epoch {last_epoch}."
    ),
    "class-missing": "Class {classes} has no training images, but test images.",
    "label-errors": (
        "{doubtful_share} of the training images are probably labeled wrongly: the network gives "
        "their label a mean probability of at most 10%, and half of the images one of "
        "{median_confidence} or more."
    ),
    "test-images-in-training": (
        "{duplicate_share} of the test images are among the training images, so that the test "
        "accuracy is too high."
    ),
    "batches-sorted": (
        "Training images are sorted by class: {label_repeat_share} of neighbors in the order of "
        "training have the same class."
    ),
    "class-forgotten": (
        "Class {classes} was forgotten {times_forgotten} times: its test accuracy fell by up to "
        "{largest_fall} from one epoch to the next."
    ),
    "classes-confused": (
        "Classes {classes} are confused: {confused_share} of their test images are taken for the "
        "other one, which is {share_of_mistakes} of all mistakes with them."
    ),
    "accuracy-with-dropout": (
        "The training accuracy is {accuracy_gap} below the test accuracy because it is measured "
        "with dropout ({dropout}). It does not show underfitting."
    ),
}

ENGLISH_REFUTATIONS = {
    "diverging": (
        "The same settings with a tenth of the learning rate diverge at the same step: then an "
        "image or the loss is at fault."
    ),
    "exploding-gradients": (
        "The batch with the large norm has an image that differs from all others."
    ),
    "learning-rate-too-low": "More epochs, or three times the learning rate, reach no lower loss.",
    "learning-rate-too-high": "The loss swings as much with a third of the learning rate.",
    "overfitting": (
        "Other test images from the same source have no larger loss than at the minimum."
    ),
    "blank-maps": (
        "Maps of the same images by hires-cam with the target centered are not blank: then the "
        "method is at fault, not the network."
    ),
    "dead-units": "The units react to images outside the sample.",
    "saturated-outputs": "The outputs react for images that the network was not trained on.",
    "class-missing": "The training images of the class were given another label.",
    "label-errors": "The listed images are rare, but labeled correctly.",
    "test-images-in-training": (
        "The pairs show different things whose pixels happen to be equal, such as blank images."
    ),
    "batches-sorted": "The order was shuffled, and nearly all images are of one class.",
    "class-forgotten": "The class has so few test images that single ones explain the falls.",
    "classes-confused": "A person confuses the listed images as often.",
    "accuracy-with-dropout": "Without dropout, training images have no higher accuracy.",
}

ENGLISH_CAUSES = {
    "saturated": "the output is saturated",
    "all-negative": "the weighted sum is nowhere positive",
    "dead": "the layer's activations are zero",
}

ENGLISH_REASONS = {
    "not-recorded": "the run did not record what it needs, as runs of earlier versions",
    "too-few-epochs": "the run has too few epochs",
    "too-many-images": "the dataset has too many images to compare",
    "not-learned": "the network has not learned enough",
}

JAPANESE_SENTENCES = {
    "diverging": "学習が発散しました。エポック {first_epoch} から損失が有限ではありません。",
    "exploding-gradients": (
        "エポック {first_epoch} で勾配が爆発しました。最大ノルムは中央値の "
        "{gradient_norm_ratio} 倍です。"
    ),
    "learning-rate-too-low": (
        "学習率が低すぎるか、学習が短すぎる可能性があります。テスト損失の低下の "
        "{late_gain_share} が"
        "エポック {first_epoch} より後に起き、まだ低下しています。"
    ),
    "learning-rate-too-high": (
        "学習率が高すぎる可能性があります。学習損失はエポックごとに平均の {loss_rise_share} "
        "上昇し、"
        "最大値は当て推量の損失の {largest_loss_by_chance} 倍です。"
    ),
    "overfitting": (
        "過学習しています。エポック {first_epoch} 以降、学習損失は下がる一方、テスト損失は最小値の "
        "{test_loss_ratio} 倍に上がりました。現在は学習損失の {loss_gap_ratio} 倍です。"
    ),
    "blank-maps": (
        "{cause}ため、マップが空白です。エポック {last_epoch} で、従来手法の "
        "{blank_share_conventional}、"
        "提案手法の {blank_share_proposed} です。"
    ),
    "dead-units": (
        "エポック {last_epoch} で、ReLU ユニットの {dead_unit_share} が調べたすべての画像で 0 "
        "です。"
    ),
    "saturated-outputs": (
        "出力が飽和しています。エポック {last_epoch} で、調べた画像の {saturated_share} では、"
        "クラスの確率が活性化前の値に反応しません。"
    ),
    "class-missing": "クラス {classes} にはテスト画像がありますが、学習画像がありません。",
    "label-errors": (
        "学習画像の {doubtful_share} はラベルが誤っている可能性があります。"
        "ネットワークがそのラベルに"
        "与える確率の平均は 10% 以下で、画像の半数では {median_confidence} 以上です。"
    ),
    "test-images-in-training": (
        "テスト画像の {duplicate_share} が学習画像にも含まれるため、テスト精度は高すぎます。"
    ),
    "batches-sorted": (
        "学習画像がクラス順に並んでいます。学習順で隣り合う画像の {label_repeat_share} "
        "が同じクラスです。"
    ),
    "class-forgotten": (
        "クラス {classes} は {times_forgotten} 回忘れられました。テスト精度が次のエポックで最大 "
        "{largest_fall} 下がりました。"
    ),
    "classes-confused": (
        "クラス {classes} が混同されています。テスト画像の {confused_share} がもう一方と判定され、"
        "これらのクラスの誤りの {share_of_mistakes} にあたります。"
    ),
    "accuracy-with-dropout": (
        "学習精度はドロップアウト（{dropout}）つきで測定されるため、テスト精度より "
        "{accuracy_gap} 低くなります。"
        "学習不足を示すものではありません。"
    ),
}

JAPANESE_REFUTATIONS = {
    "diverging": (
        "学習率を 10 分の 1 にしても同じステップで発散すれば、画像または損失に原因があります。"
    ),
    "exploding-gradients": (
        "ノルムの大きいバッチに、ほかと大きく異なる画像があれば、この所見は当たりません。"
    ),
    "learning-rate-too-low": (
        "エポックを増やすか学習率を 3 倍にしても損失が下がらなければ、この所見は当たりません。"
    ),
    "learning-rate-too-high": (
        "学習率を 3 分の 1 にしても損失が同じように揺れれば、この所見は当たりません。"
    ),
    "overfitting": (
        "同じ出所の別のテスト画像の損失が最小値と変わらなければ、この所見は当たりません。"
    ),
    "blank-maps": (
        "同じ画像の hires-cam（ターゲット centered）のマップが空白でなければ、"
        "原因はネットワークではなく手法にあります。"
    ),
    "dead-units": "標本以外の画像にユニットが反応すれば、この所見は当たりません。",
    "saturated-outputs": ("学習に使われていない画像に出力が反応すれば、この所見は当たりません。"),
    "class-missing": "そのクラスの学習画像に別のラベルが付いていれば、この所見は当たりません。",
    "label-errors": "挙げた画像がまれなだけで、ラベルが正しければ、この所見は当たりません。",
    "test-images-in-training": (
        "空白画像のように、異なるものの画素がたまたま等しければ、この所見は当たりません。"
    ),
    "batches-sorted": (
        "順序が混ぜられ、ほぼすべての画像が一つのクラスなら、この所見は当たりません。"
    ),
    "class-forgotten": (
        "テスト画像が少なく、数枚の画像で低下が説明できれば、この所見は当たりません。"
    ),
    "classes-confused": "人も挙げた画像を同じように混同すれば、この所見は当たりません。",
    "accuracy-with-dropout": (
        "ドロップアウトなしでも学習画像の精度が高くならなければ、この所見は当たりません。"
    ),
}

JAPANESE_CAUSES = {
    "saturated": "出力が飽和している",
    "all-negative": "重み付き和が正になる位置がない",
    "dead": "層の活性がすべてゼロである",
}

JAPANESE_REASONS = {
    "not-recorded": "必要な値が記録されていません（以前のバージョンの実行など）",
    "too-few-epochs": "エポックが少なすぎます",
    "too-many-images": "データセットの画像が多すぎて比較できません",
    "not-learned": "ネットワークがまだ十分に学習していません",
}

ENGLISH_TITLES = {
    "diverging": "Divergence",
    "exploding-gradients": "Exploding gradients",
    "learning-rate-too-low": "Learning rate too low",
    "learning-rate-too-high": "Learning rate too high",
    "overfitting": "Overfitting",
    "blank-maps": "Blank maps",
    "dead-units": "Dead units",
    "saturated-outputs": "Saturated outputs",
    "class-missing": "Class missing from training",
    "label-errors": "Label errors",
    "test-images-in-training": "Test images among the training images",
    "batches-sorted": "Batches sorted by class",
    "class-forgotten": "Repeatedly forgotten class",
    "classes-confused": "Confused classes",
    "accuracy-with-dropout": "Training accuracy with dropout",
}

JAPANESE_TITLES = {
    "diverging": "発散",
    "exploding-gradients": "勾配の爆発",
    "learning-rate-too-low": "低すぎる学習率",
    "learning-rate-too-high": "高すぎる学習率",
    "overfitting": "過学習",
    "blank-maps": "空白のマップ",
    "dead-units": "死んだユニット",
    "saturated-outputs": "飽和した出力",
    "class-missing": "学習にないクラス",
    "label-errors": "ラベルの誤り",
    "test-images-in-training": "学習画像に含まれるテスト画像",
    "batches-sorted": "クラス順のバッチ",
    "class-forgotten": "繰り返し忘れられるクラス",
    "classes-confused": "混同されるクラス",
    "accuracy-with-dropout": "ドロップアウトつきの学習精度",
}
