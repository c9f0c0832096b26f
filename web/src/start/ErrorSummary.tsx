import type { FieldError } from "../api/types";
import { t } from "../text";
import { errorText, isErrorOf } from "../text/fieldErrors";

interface Props {
  errors: FieldError[];
  labels: Record<string, string>; // of the form's fields, by the id of their inputs
}

/**
 * Links to the fields that have errors, whose messages stand at the fields, and the messages of all errors without a
 * field in the form.
 */
export function ErrorSummary({ errors, labels }: Props) {
  if (!errors.length) return null;
  const invalid = Object.entries(labels).filter(([name]) => errors.some((error) => isErrorOf(name, error)));
  const others = errors.filter((error) => !Object.keys(labels).some((name) => isErrorOf(name, error)));
  return (
    <div class="failure" role="alert" tabIndex={-1}>
      {invalid.length > 0 && (
        <p>
          {t("new.invalid", { count: invalid.length })}{" "}
          {invalid.map(([name, label], index) => (
            <span key={name}>
              {index > 0 && ", "}
              <FieldLink id={name} label={label} />
            </span>
          ))}
        </p>
      )}
      {others.length > 0 && (
        <>
          <p>{t("new.refused")}</p>
          <ul>
            {others.map((error) => (
              <li key={error.field}>
                <code>{error.field}</code> {errorText(error)}
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

function FieldLink({ id, label }: { id: string; label: string }) {
  const onClick = (event: Event) => {
    event.preventDefault();
    document.getElementById(id)?.focus();
  };
  return (
    <a href={`#${id}`} onClick={onClick}>
      {label}
    </a>
  );
}
