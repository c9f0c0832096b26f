// The service's problems in the page's language. The service describes them in English only.

import type { FieldError, Problem } from "../api/types";
import { errorText } from "./fieldErrors";
import { language, t } from "./index";

const JAPANESE: Record<string, string> = {
  "run-not-found": "その実行はありません。",
  "run-ended": "実行はすでに終了しているため、記録できません。",
  "experiment-not-found": "その実験はありません。",
  "experiment-conflict": "実験の実行の状態では、この操作はできません。",
  "epoch-not-found": "その実行に、そのエポックはありません。",
  "image-not-found": "その画像はありません。",
  "weights-unavailable": "学習を始める重みを読み込めないか、別のネットワークの重みです。",
  "dataset-unavailable": "データセットがサービスになく、ダウンロードもできません。",
  "dataset-not-found": "そのデータセットはありません。",
  "dataset-changed": "実行の作成後に、データセットの画像が変わりました。",
  "dataset-exists": "その名前のデータセットはすでにあります。",
  "dataset-in-use": "データセットは実行で使われているか、組み込みのため、削除できません。",
  "archive-refused": "ZIP ファイルが壊れているか、受け付けられない内容です。",
  "dataset-not-measured": "データセットに新しい画像があります。先にデータセットの情報を取得してください。",
  "image-refused": "その画像ファイルは使えません。",
  "network-not-found": "そのネットワークはありません。",
  "tensor-not-found": "そのテンソルはありません。",
  "tensors-rejected": "テンソルが足りないか、ネットワークに合いません。",
  "tensor-uploads-busy": "テンソルのアップロードが混み合っています。少し待ってから再試行してください。",
  "upload-conflict": "アップロードは別の位置から続いています。",
  "lease-stale": "この実行は別の記録元が引き継いでいます。",
  "job-not-found": "そのジョブはありません。",
  "job-not-done": "そのジョブの結果はまだありません。",
  "job-not-owned": "ジョブを終了できるのは、作成したクライアントと管理者だけです。",
  "not-found": "見つかりません。",
  "unauthenticated": "トークンが無効か、期限切れ、または失効しています。",
  "scope-missing": "トークンの権限が足りません。",
  "csrf-refused": "セッションが変わりました。ページを再読み込みしてください。",
  "origin-refused": "別のオリジンのページからは変更できません。",
  "cross-site-refused": "別のサイトのページからは読み込めません。",
  "host-refused": "このホスト名ではサービスを使えません。",
  "secret-in-address": "トークンは URL ではなく、ヘッダーで送ってください。送ったトークンは失効させてください。",
  "rate-limited": "要求が多すぎます。しばらくしてから再試行してください。",
  "key-reused": "この Idempotency-Key は別の要求で使われています。",
  "queue-full": "実行の待ち行列が一杯です。実行が終わってから再試行してください。",
  "too-many-streams": "開いているイベントストリームが多すぎます。",
  "pool-full": "処理待ちの要求が多すぎます。しばらくしてから再試行してください。",
  "jobs-full": "終わっていないジョブが多すぎます。しばらくしてから再試行してください。",
  "interrupted": "処理が終わる前にサービスが停止しました。もう一度試してください。",
  "unsupported-image": "PNG または JPEG の静止画を選んでください。",
  "image-too-large": "画像が大きすぎます。",
  "uploads-busy": "アップロードが混み合っています。少し待ってから再試行してください。",
  "run-conflict": "実行の現在の状態では、この操作はできません。",
  "run-cancelled": "実行は中止されました。",
  "run-diverged": "損失が NaN または無限大になりました。",
  "device-unavailable": "学習に必要なデバイスがありません。",
  "checkpoint-corrupt": "チェックポイントが失われたか、壊れています。",
  "epoch-quarantined": "このエポックのチェックポイントは壊れているため、使われません。",
  "not-ready": "サービスの準備ができていません。",
  "store-unavailable": "データベースを使えません。しばらくしてから再試行してください。",
  "store-busy": "データベースが混み合っています。しばらくしてから再試行してください。",
  "store-read-only": "データベースに書き込めません。",
  "store-missing": "データベースが見つかりません。",
  "store-access-denied": "データベースへのアクセスが拒否されました。",
  "store-input-output": "ディスクの読み書きに失敗しました。",
  "schema-mismatch": "データベースのスキーマがサービスのバージョンと合いません。",
  "unsupported-encoding": "データベースの文字コードが UTF-8 ではありません。",
  "store-full": "ディスクまたは割り当て容量が一杯です。",
  "store-damaged": "データベースが壊れています。",
  "statement-refused": "データベースが処理を拒否しました。サービスのログを確認してください。",
  "internal-error": "予期しないエラーが起きました。サービスのログを確認してください。",
};

const JAPANESE_FIELDS: Record<string, string> = {
  "file": "ファイルが壊れているか、画像として読み取れません。",
};

/** What went wrong, as a sentence in the page's language; in English if the page does not know the problem. */
export function problemText(problem: Problem): string {
  if (problem.status === 0) return t("failure.unreachable");
  const english = problem.detail ?? problem.title;
  if (language.value === "en") return english;
  const known = JAPANESE[problem.type ?? ""];
  if (known) return known;
  const sentence = (error: FieldError) => JAPANESE_FIELDS[error.field] ?? `${error.field}: ${errorText(error)}`;
  return problem.errors?.map(sentence).join(" ") ?? english;
}
