import { t } from "../text";

/** An image's reference, or "your image" for an upload, whose reference means nothing to people. */
export const imageName = (reference: string | null): string =>
  reference?.startsWith("upload:") ? t("upload.name") : (reference ?? "");
