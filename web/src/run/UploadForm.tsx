import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { postBlob } from "../api/client";
import { Details } from "../components/Details";
import { Failure, Loading } from "../components/Failure";
import { t } from "../text";

interface Props {
  runId: number;
  isGray: boolean; // the run's images
  onUpload: (reference: string) => void;
}

/** Uploads an image, whose maps of all classes the reel then shows. */
export function UploadForm({ runId, isGray, onUpload }: Props) {
  const file = useSignal<File | null>(null);
  const isInverted = useSignal(false);
  const isSending = useSignal(false);
  const failure = useSignal<Error | null>(null);
  const upload = useRef(new AbortController());
  useLayoutEffect(() => () => upload.current.abort(), []);

  // The inputs stay enabled during an upload, as an input that is disabled loses the focus. A second upload cancels
  // the first.
  const send = async () => {
    if (!file.value) return;
    upload.current.abort();
    upload.current = new AbortController();
    const { signal } = upload.current;
    isSending.value = true;
    failure.value = null;
    try {
      const params = { run_id: runId, invert: isInverted.value ? "true" : null };
      const image = await postBlob<{ reference: string }>("/images", params, file.value, signal);
      onUpload(image.reference);
    } catch (error) {
      if (!signal.aborted) failure.value = error as Error;
    } finally {
      if (!signal.aborted) isSending.value = false;
    }
  };
  const onFile = (event: Event) => {
    file.value = (event.currentTarget as HTMLInputElement).files?.[0] ?? null;
    void send();
  };
  const onInvert = (event: Event) => {
    isInverted.value = (event.currentTarget as HTMLInputElement).checked;
    void send();
  };
  return (
    <Details class="upload" summary={t("upload.title")}>
      {() => (
        <>
          <label>
            <span>{t("upload.file")}</span>
            <input type="file" accept="image/png,image/jpeg" disabled={!hasScope("run")} onChange={onFile} />
          </label>
          {isGray && (
            <label class="tick">
              <input type="checkbox" checked={isInverted.value} disabled={!hasScope("run")} onChange={onInvert} />
              <span>{t("upload.invert")}</span>
            </label>
          )}
          <p class="note">{t("upload.note")}</p>
          <ScopeNote scopes={["run"]} />
          {isSending.value && <Loading message={t("upload.sending")} />}
          {failure.value && <Failure error={failure.value} />}
        </>
      )}
    </Details>
  );
}
