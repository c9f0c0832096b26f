// A picture of one's own: what each class finds in it, over all epochs.

import { useSignal } from "@preact/signals";
import { postBlob } from "../api/client";
import { Details } from "../parts/Details";
import { Failure } from "../parts/Failure";
import { t } from "../text";

interface Props {
  dataset: string;
  onTaken: (reference: string) => void;
}

export function OwnImage({ dataset, onTaken }: Props) {
  const file = useSignal<File | null>(null);
  const inverted = useSignal(false);
  const sending = useSignal(false);
  const failure = useSignal<Error | null>(null);
  const send = async () => {
    if (!file.value) return;
    sending.value = true;
    failure.value = null;
    try {
      const invert = inverted.value ? "true" : null;
      onTaken((await postBlob<{ reference: string }>("/images", { dataset, invert }, file.value)).reference);
    } catch (error) {
      failure.value = error as Error;
    } finally {
      sending.value = false;
    }
  };
  return (
    <Details class="own-image" summary={t("own.title")}>
      {() => (
        <>
          <label>
            <span>{t("own.file")}</span>
            <input
              type="file" accept="image/png,image/jpeg" disabled={sending.value}
              onChange={(event) => {
                file.value = event.currentTarget.files?.[0] ?? null;
                void send();
              }}
            />
          </label>
          <label class="tick">
            <input
              type="checkbox" checked={inverted.value} disabled={sending.value}
              onChange={(event) => {
                inverted.value = event.currentTarget.checked;
                void send();
              }}
            />
            <span>{t("own.invert")}</span>
          </label>
          <p class="note">{t("own.note")}</p>
          {failure.value && <Failure error={failure.value} />}
        </>
      )}
    </Details>
  );
}
