// Reads a histogram log with npm's hdr-histogram-js and tells what is in it, as JSON.
// node read_hlog.js FILE js|wasm PERCENT...
const fs = require("fs");
const hdr = require("hdr-histogram-js");

const [, , file, kind, ...percents] = process.argv;
const wasm = kind === "wasm";

(async () => {
  if (wasm) await hdr.initWebAssembly();
  const text = fs.readFileSync(file, "utf8");
  const reader = new hdr.HistogramLogReader(text, 64, wasm);
  const histograms = [];
  for (let one = reader.nextIntervalHistogram(); one !== null; one = reader.nextIntervalHistogram()) {
    histograms.push({
      tag: one.tag,
      count: one.totalCount,
      start: one.startTimeStampMsec,
      end: one.endTimeStampMsec,
      values: percents.map((percent) => one.getValueAtPercentile(Number(percent))),
      again: hdr.encodeIntoCompressedBase64(one),
    });
  }
  console.log(JSON.stringify({ tags: hdr.listTags(text), histograms }));
})();
