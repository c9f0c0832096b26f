import { show } from "./App";
import "./style.css";

void show(document.getElementById("page")!);
