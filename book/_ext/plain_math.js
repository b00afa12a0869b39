// TeX to MathML, for readers whose browser runs no scripts: a list [[tex, display], ...] comes on
// standard input as JSON, a list of MathML goes to standard output. The argument is MathJax's folder.
const folder = process.argv[2];

async function main() {
  const options = { loader: { load: ["input/tex"], paths: { mathjax: folder } } };
  const MathJax = await require(`${folder}/node-main.js`).init(options);
  const found = [];
  for (const [tex, display] of JSON.parse(require("fs").readFileSync(0, "utf-8"))) {
    found.push(await MathJax.tex2mmlPromise(tex, { display }));
  }
  process.stdout.write(JSON.stringify(found));
}

main().catch((error) => {
  process.stderr.write(String(error.stack ?? error));
  process.exitCode = 1;
});
