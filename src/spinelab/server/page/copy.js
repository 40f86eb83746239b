// Copies what needs no bundling beside the bundles, with the licences of what was bundled.
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

for (const name of ["style.css", "icon.svg"]) copyFileSync(name, `../built/${name}`);

const notices = [];
for (const folder of packages("node_modules")) {
  const about = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
  const text = file && existsSync(`${folder}/${file}`) ? readFileSync(`${folder}/${file}`, "utf8") : "";
  if (!/esbuild/.test(about.name)) notices.push(`${about.name} ${about.version} (${about.license})\n\n${text}`);
}
writeFileSync("../built/LICENSES.txt", notices.join(`\n${"-".repeat(72)}\n`));

function packages(root) {
  return readdirSync(root, { withFileTypes: true }).flatMap((entry) => {
    if (!entry.isDirectory() || entry.name.startsWith(".")) return [];
    const path = `${root}/${entry.name}`;
    return entry.name.startsWith("@") ? packages(path) : existsSync(`${path}/package.json`) ? [path] : [];
  });
}
