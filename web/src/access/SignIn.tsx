import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { ApiError } from "../api/client";
import { Failure } from "../components/Failure";
import { useAction } from "../hooks/useAction";
import { t } from "../text";
import { signIn } from "./session";

export function SignIn() {
  const token = useSignal("");
  const { run, failure, isRunning } = useAction();
  const input = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => input.current?.focus(), []);
  document.title = `${t("access.title")} – Camreel`;

  const submit = (event: Event) => {
    event.preventDefault();
    void run(() => signIn(token.value.trim()));
  };
  const isInvalid = failure.value instanceof ApiError && failure.value.problem.status === 401;
  return (
    <main class="sign-in" id="content">
      <h1>{t("access.title")}</h1>
      <p class="muted">{t("access.intro")}</p>
      <form onSubmit={submit}>
        <div class="field">
          <label for="token">{t("access.token")}</label>
          <input
            ref={input}
            id="token"
            type="password"
            autocomplete="off"
            required
            maxLength={256}
            value={token.value}
            aria-invalid={isInvalid}
            onInput={(event) => (token.value = event.currentTarget.value)}
          />
        </div>
        {isInvalid && (
          <p class="error" role="alert">
            {t("access.invalid")}
          </p>
        )}
        {failure.value && !isInvalid && <Failure error={failure.value} />}
        <button type="submit" class="primary" disabled={isRunning.value || !token.value.trim()}>
          {t("access.signIn")}
        </button>
      </form>
    </main>
  );
}
