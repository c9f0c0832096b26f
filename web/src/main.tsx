import { render } from "preact";
import { App } from "./App";
import { loadRecordedMethods } from "./api/catalogue";
import { openWhenSettled } from "./firstAnswers";
import "./style.css";

async function start(): Promise<void> {
  await loadRecordedMethods().catch(() => {}); // the page itself reports a service that does not respond
  render(<App />, document.getElementById("page")!);
  void openWhenSettled();
}

void start();
