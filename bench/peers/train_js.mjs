/**
 * A training step of LeNet (batch 128, SGD) in the libraries JavaScript has for it, for the record.
 *
 *     npm install --prefix PEERS @tensorflow/tfjs @jax-js/jax && PEERS=PEERS node bench/peers/train_js.mjs tfjs|jax-js [TURNS]
 *
 * TensorFlow.js runs on its CPU backend: its WASM backend has no gradient of a convolution. jax-js runs on its Wasm backend.
 * Prints the smallest time of a step in milliseconds.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.PEERS ?? ".", "package.json"));
const found = (name) => import(pathToFileURL(require.resolve(name)).href);
const [which, turns = "5"] = process.argv.slice(2);
const BATCH = 128;

async function tfjs() {
  const tf = (await found("@tensorflow/tfjs")).default;
  await tf.setBackend("cpu");
  const { layers } = tf;
  const model = tf.sequential({
    layers: [
      layers.conv2d({ inputShape: [28, 28, 1], filters: 6, kernelSize: 5, padding: "same", activation: "relu" }),
      layers.maxPooling2d({ poolSize: 2, strides: 2 }),
      layers.conv2d({ filters: 16, kernelSize: 5, activation: "relu" }),
      layers.maxPooling2d({ poolSize: 2, strides: 2 }),
      layers.flatten(),
      layers.dense({ units: 120, activation: "relu" }),
      layers.dense({ units: 84, activation: "relu" }),
      layers.dense({ units: 10 }),
    ],
  });
  const x = tf.randomUniform([BATCH, 28, 28, 1]);
  const y = tf.oneHot(tf.range(0, BATCH, 1, "int32").mod(tf.scalar(10, "int32")), 10);
  const optimizer = tf.train.momentum(0.01, 0.9);
  return async () => {
    const loss = optimizer.minimize(() => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true })), true);
    return (await loss.data())[0];
  };
}

async function jax() {
  const {
    init,
    defaultDevice,
    jit,
    lax,
    nn,
    numpy: np,
    valueAndGrad,
    random,
    tree,
    blockUntilReady,
  } = await found("@jax-js/jax");
  await init("wasm");
  defaultDevice("wasm");
  const drawn = (seed, shape) => random.normal(random.key(seed), shape).mul(0.1);
  const shapes = { c1: [6, 1, 5, 5], c2: [16, 6, 5, 5], f1: [400, 120], f2: [120, 84], f3: [84, 10] };
  let weights = Object.fromEntries(Object.entries(shapes).map(([name, shape], i) => [name, drawn(i, shape)]));
  let speeds = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, np.zeros(shape)]));
  const pool = (x) => {
    const [n, c, h, w] = x.shape;
    return np.max(x.reshape([n, c, h / 2, 2, w / 2, 2]), [3, 5]);
  };
  const loss = (w, x, y) => {
    let a = pool(nn.relu(lax.conv(x, w.c1, [1, 1], "SAME")));
    a = pool(nn.relu(lax.conv(a, w.c2, [1, 1], "VALID"))).reshape([BATCH, 400]);
    a = nn.relu(np.matmul(a, w.f1));
    a = nn.relu(np.matmul(a, w.f2));
    return nn
      .logSoftmax(np.matmul(a, w.f3), 1)
      .mul(y)
      .sum()
      .mul(-1 / BATCH);
  };
  const step = jit((w, v, x, y) => {
    const [value, slopes] = valueAndGrad(loss)(tree.ref(w), x, y);
    const next = Object.fromEntries(Object.keys(shapes).map((name) => [name, v[name].mul(0.9).add(slopes[name])]));
    const moved = Object.fromEntries(Object.keys(shapes).map((name) => [name, w[name].sub(next[name].ref.mul(0.01))]));
    return [value, moved, next];
  });
  const x = drawn(9, [BATCH, 1, 28, 28]);
  const y = nn.oneHot(
    np.array(
      Array.from({ length: BATCH }, (_, i) => i % 10),
      { dtype: np.int32 },
    ),
    10,
  );
  return async () => {
    const [value, moved, next] = step(weights, speeds, x.ref, y.ref);
    [weights, speeds] = [moved, next];
    await blockUntilReady(tree.ref(weights));
    return (await value.data())[0];
  };
}

const step = await (which === "tfjs" ? tfjs() : jax());
const times = [];
const losses = [];
for (let turn = 0; turn < Number(turns) + 1; turn++) {
  const start = performance.now();
  losses.push(await step());
  times.push(performance.now() - start);
}
console.log(JSON.stringify({ peer: which, net: "lenet", batch: BATCH, ms: Math.min(...times.slice(1)), losses }));
