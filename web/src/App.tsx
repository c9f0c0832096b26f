import { useEffect } from "preact/hooks";
import { SignIn } from "./access/SignIn";
import { hasScope, openSession, session, signOut } from "./access/session";
import { address } from "./api/address";
import { networkIdle } from "./api/pending";
import { ComparePage } from "./compare/ComparePage";
import { isHelpOpen, KeyboardHelp } from "./components/KeyboardHelp";
import { Link } from "./components/Link";
import { ExperimentListPage } from "./experiments/ExperimentListPage";
import { ExperimentPage } from "./experiments/ExperimentPage";
import { NewExperimentPage } from "./experiments/NewExperimentPage";
import icon from "./icon.svg?raw";
import { route } from "./navigation";
import { RunPage } from "./run/RunPage";
import { NewRunPage } from "./start/NewRunPage";
import { StartPage } from "./start/StartPage";
import { type Language, language, setLanguage, t } from "./text";
import { setTheme, type Theme, theme } from "./theme";

export function App() {
  useEffect(() => void networkIdle().then(openSession), []);
  return (
    <>
      <a class="skip" href="#content">
        {t("skip")}
      </a>
      <Header />
      {/* Rendered before the session is known: if a sign-in is required, the first request of the page fails with 401. */}
      {session.value.state === "signedOut" ? <SignIn /> : <Page />}
      <KeyboardHelp />
    </>
  );
}

function Header() {
  return (
    <header class="bar">
      <Link to="" class="brand">
        <span class="icon" aria-hidden="true" dangerouslySetInnerHTML={{ __html: icon }} /> Camreel
      </Link>
      {session.value.state !== "signedOut" && <Navigation />}
      <Preferences />
    </header>
  );
}

function Navigation() {
  return (
    <nav aria-label={t("nav.title")}>
      <Link to="" aria-current={route.value.page === "start" ? "page" : undefined}>
        {t("nav.runs")}
      </Link>
      <Link to="/experiments" aria-current={/^(newE|e)xperiment/.test(route.value.page) ? "page" : undefined}>
        {t("nav.experiments")}
      </Link>
      {hasScope("run") && (
        <Link to="/new" aria-current={route.value.page === "new" ? "page" : undefined}>
          {t("nav.new")}
        </Link>
      )}
      <a href={address("/docs")}>API</a>
    </nav>
  );
}

function Preferences() {
  const current = session.value;
  return (
    <div class="preferences">
      {current.state === "signedIn" && (
        <button type="button" onClick={signOut} title={t("access.as", { name: current.name, scope: current.scope })}>
          {t("access.signOut")}
        </button>
      )}
      <button type="button" onClick={() => (isHelpOpen.value = true)} aria-label={t("nav.help")}>
        ?
      </button>
      <select
        aria-label={t("nav.theme")}
        value={theme.value}
        onChange={(event) => setTheme(event.currentTarget.value as Theme)}
      >
        <option value="system">{t("theme.system")}</option>
        <option value="light">{t("theme.light")}</option>
        <option value="dark">{t("theme.dark")}</option>
      </select>
      <select
        aria-label="Language / 言語"
        value={language.value}
        onChange={(event) => setLanguage(event.currentTarget.value as Language)}
      >
        <option value="en" lang="en">
          English
        </option>
        <option value="ja" lang="ja">
          日本語
        </option>
      </select>
    </div>
  );
}

function Page() {
  const current = route.value;
  switch (current.page) {
    case "start":
      return <StartPage />;
    case "new":
      return <NewRunPage />;
    case "run":
      return <RunPage key={current.id} id={current.id} />;
    case "compare":
      return <ComparePage key={current.ids.join()} ids={current.ids} />;
    case "experiments":
      return <ExperimentListPage />;
    case "newExperiment":
      return <NewExperimentPage />;
    case "experiment":
      return <ExperimentPage key={current.id} id={current.id} />;
    case "notFound":
      return <NotFoundPage />;
  }
}

function NotFoundPage() {
  return (
    <main id="content">
      <h1>{t("notFound.title")}</h1>
      <p>
        <Link to="">{t("notFound.back")}</Link>
      </p>
    </main>
  );
}
