import { t } from "../text";

/** An image's reference; what was uploaded has one that says nothing to people. */
export const imageName = (reference: string | null): string =>
  reference?.startsWith("upload:") ? t("upload.name") : (reference ?? "");
