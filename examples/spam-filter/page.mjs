import { openTokenizer } from "minnow/data";
import * as ort from "onnxruntime-web";
import { spamIn } from "./judge.mjs";

const at = (id) => document.getElementById(id);

/** Made up for this page. */
const MAILS = {
  ham: `Subject: Re: patch for the config parser

Hi Anna,

thanks for the report. I can reproduce it here: the parser stops at the first empty line when the file has DOS line endings. \
The patch below works for me, could you try it with your setup before I commit it?

I will be at the meeting on Thursday, so we can also look at it there.

Regards,
Tom`,
  spam: `Subject: YOU HAVE BEEN SELECTED!!!

Dear friend,

CONGRATULATIONS! Lower your mortgage payment today and get CASH back, 100% FREE and GUARANTEED. No credit check, no obligation, \
no risk! Thousands of people like you already earn money from home. This offer is limited, so click here now:

http://www.example.com/offer

To be removed from our mailing list click here to unsubscribe.`,
};

ort.env.wasm.numThreads = 1;
const fetched = async (path) => {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`There is no ${path}`);
  return response;
};
const loaded = Promise.all([
  fetched("made/tokenizer.json").then(async (response) => openTokenizer(await response.json())),
  ort.InferenceSession.create("made/spam.onnx"),
]).catch(() => {
  at("said").textContent = "There is no net yet: node examples/spam-filter/make.mjs";
});

/** What is asked last is what is shown. */
let asked = 0;

async function judge() {
  const turn = ++asked;
  const parts = await loaded;
  const mail = at("mail").value;
  if (parts === undefined) return;
  const [tokenizer, session] = parts;
  const run = async (feeds) => {
    const tensors = session.inputNames.map((name) => [
      name,
      new ort.Tensor("int64", feeds[name].data, feeds[name].shape),
    ]);
    return (await session.run(Object.fromEntries(tensors))).logits.data;
  };
  const start = performance.now();
  const share = mail.trim() === "" ? undefined : await spamIn(mail, tokenizer, run);
  const ms = performance.now() - start;
  if (turn !== asked) return;
  at("answer").classList.toggle("spam", share > 0.5);
  at("verdict").textContent = share === undefined ? "–" : share > 0.5 ? "Spam" : "No spam";
  at("share").style.width = `${100 * (share ?? 0)}%`;
  at("detail").textContent =
    share === undefined ? "No mail yet" : `${(100 * share).toFixed(1)} % likely to be spam; ${ms.toFixed(0)} ms`;
}

at("mail").oninput = judge;
for (const [id, mail] of Object.entries(MAILS))
  at(id).onclick = () => {
    at("mail").value = mail;
    return judge();
  };
