import { render } from "preact";
import { useEffect } from "preact/hooks";
import { SignIn } from "./access/SignIn";
import { openSession, session, signOut } from "./access/session";
import { address } from "./api/address";
import { answered, pause, quiet } from "./api/waiting";
import { ComparePage } from "./compare/ComparePage";
import icon from "./icon.svg?raw";
import { Help, helpOpen } from "./parts/Help";
import { Link } from "./parts/Link";
import { place } from "./route";
import { openAhead, RunPage } from "./run/RunPage";
import { NewRun } from "./start/NewRun";
import { StartPage } from "./start/StartPage";
import { language, speak, t } from "./text";
import { choose, theme, type Theme } from "./theme";

const PATIENCE = 250; // ms

/**
 * Shows the page: with all its first answers, if these come soon. To show it without them, and anew
 * with each, would take a browser longer than to wait.
 */
export async function show(root: HTMLElement): Promise<void> {
  const at = place.peek();
  if (at.page === "run") {
    openAhead(at.id);
    await Promise.race([answered(), pause(PATIENCE)]);
  }
  render(<App />, root);
}

function App() {
  useEffect(() => void quiet().then(openSession), []);
  const now = session.value;
  return (
    <>
      <a class="skip" href="#content">{t("skip")}</a>
      <header class="bar">
        <Link to="" class="brand"><span class="icon" aria-hidden="true" dangerouslySetInnerHTML={{ __html: icon }} /> Camreel</Link>
        <nav aria-label={t("nav.title")}>
          <Link to="" aria-current={place.value.page === "start" ? "page" : undefined}>{t("nav.runs")}</Link>
          <Link to="/new" aria-current={place.value.page === "new" ? "page" : undefined}>{t("nav.new")}</Link>
          <a href={address("/docs")}>API</a>
        </nav>
        <div class="manners">
          {now.state === "in" && <button type="button" onClick={signOut} title={t("access.as", { name: now.name, scope: now.scope })}>{t("access.signOut")}</button>}
          <button type="button" onClick={() => (helpOpen.value = true)} aria-label={t("nav.help")}>?</button>
          <select aria-label={t("nav.theme")} value={theme.value} onChange={(event) => choose(event.currentTarget.value as Theme)}>
            <option value="system">{t("theme.system")}</option>
            <option value="light">{t("theme.light")}</option>
            <option value="dark">{t("theme.dark")}</option>
          </select>
          <select aria-label="Language / 言語" value={language.value} onChange={(event) => speak(event.currentTarget.value as "en" | "ja")}>
            <option value="en" lang="en">English</option>
            <option value="ja" lang="ja">日本語</option>
          </select>
        </div>
      </header>
      {/* Not waited for: who may not see the page is told so by its own first answer. */}
      {now.state === "out" ? <SignIn /> : <Page />}
      <Help />
    </>
  );
}

function Page() {
  const at = place.value;
  switch (at.page) {
    case "start": return <StartPage />;
    case "new": return <NewRun />;
    case "run": return <RunPage key={at.id} id={at.id} />;
    case "compare": return <ComparePage key={at.ids.join()} ids={at.ids} />;
    case "unknown": return <main id="content"><h1>{t("notFound.title")}</h1><p><Link to="">{t("notFound.back")}</Link></p></main>;
  }
}
