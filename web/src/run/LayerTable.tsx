import { gridText, type LayerMenu } from "../maps/layers";
import { number, t } from "../text";

const MAX_ROWS = 300;

/** The layers of a run's network, from the image up, with channels, rows and columns. */
export function LayerTable({ menu: { layers, defaultLayer } }: { menu: LayerMenu }) {
  if (!layers.length) return null;
  const shown = layers.slice(0, MAX_ROWS);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard
    <div class="layer-table" tabIndex={0} role="region" aria-label={t("network.layers")}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t("network.layer")}</th>
            <th scope="col">{t("network.grid")}</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((layer) => (
            <tr key={layer.name}>
              <th scope="row">
                {layer.name === defaultLayer ? t("options.layer.isDefault", { name: layer.name }) : layer.name}
              </th>
              <td class="figure">{gridText(layer)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length < layers.length && (
        <p class="note">{t("network.more", { count: number(layers.length - shown.length) })}</p>
      )}
    </div>
  );
}
