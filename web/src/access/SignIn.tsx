// The way in where the service asks who one is.

import { useSignal } from "@preact/signals";
import { ApiError } from "../api/client";
import { Failure } from "../parts/Failure";
import { useDeed } from "../parts/useDeed";
import { t } from "../text";
import { signIn } from "./session";

export function SignIn() {
  const token = useSignal("");
  const { act, failure, going } = useDeed();
  document.title = `${t("access.title")} – Camreel`;

  const send = (event: Event) => {
    event.preventDefault();
    void act(() => signIn(token.value.trim()));
  };
  const wrong = failure.value instanceof ApiError && failure.value.problem.status === 401;
  return (
    <main class="sign-in" id="content">
      <h1>{t("access.title")}</h1>
      <p class="muted">{t("access.intro")}</p>
      <form onSubmit={send}>
        <div class="field">
          <label for="token">{t("access.token")}</label>
          <input id="token" type="password" autocomplete="off" required maxLength={256} value={token.value}
            aria-invalid={wrong} onInput={(event) => (token.value = event.currentTarget.value)} />
        </div>
        {wrong && <p class="error" role="alert">{t("access.invalid")}</p>}
        {failure.value && !wrong && <Failure error={failure.value} />}
        <button type="submit" class="primary" disabled={going.value || !token.value.trim()}>{t("access.signIn")}</button>
      </form>
    </main>
  );
}
