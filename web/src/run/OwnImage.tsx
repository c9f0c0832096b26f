// A picture of one's own: what each class finds in it, over all epochs.

import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { postBlob } from "../api/client";
import { Details } from "../parts/Details";
import { Failure, Loading } from "../parts/Failure";
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
  const latest = useRef(new AbortController());
  useLayoutEffect(() => () => latest.current.abort(), []);
  // The choices stay open while a picture is sent (one that is disabled loses the keyboard's focus),
  // so a second may follow before the first is answered: only what was chosen last counts.
  const send = async () => {
    if (!file.value) return;
    latest.current.abort();
    const { signal } = (latest.current = new AbortController());
    sending.value = true;
    failure.value = null;
    try {
      const invert = inverted.value ? "true" : null;
      const taken = await postBlob<{ reference: string }>("/images", { dataset, invert }, file.value, signal);
      onTaken(taken.reference);
    } catch (error) {
      if (!signal.aborted) failure.value = error as Error;
    } finally {
      if (!signal.aborted) sending.value = false;
    }
  };
  return (
    <Details class="own-image" summary={t("upload.title")}>
      {() => (
        <>
          <label>
            <span>{t("upload.file")}</span>
            <input
              type="file" accept="image/png,image/jpeg"
              onChange={(event) => {
                file.value = event.currentTarget.files?.[0] ?? null;
                void send();
              }}
            />
          </label>
          <label class="tick">
            <input
              type="checkbox" checked={inverted.value}
              onChange={(event) => {
                inverted.value = event.currentTarget.checked;
                void send();
              }}
            />
            <span>{t("upload.invert")}</span>
          </label>
          <p class="note">{t("upload.note")}</p>
          {sending.value && <Loading what={t("upload.sending")} />}
          {failure.value && <Failure error={failure.value} />}
        </>
      )}
    </Details>
  );
}
