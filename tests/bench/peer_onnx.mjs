// ONNX Runtime (npm's onnxruntime-node) at Rezept's shapes: what tests/bench/run holds Rezept against.
//
//   node tests/bench/peer_onnx.mjs --models FOLDER --lengths FILE [--sizes 2.2m,11m] [--batches 1,32]
//        [--modules FOLDER] [--seconds S] [--threads N] [--json FILE]
//
// FOLDER holds the files that `peer_torch.py --export FOLDER` writes; FILE the lengths of
// `bench-encoder --write-lengths`. --modules is a folder with node_modules/onnxruntime-node
// (npm install --ignore-scripts onnxruntime-node; the CPU library is in the package). Batches are
// sorted by length and padded. Exits 77 with a message where the package is not installed.
import { createRequire } from 'node:module';
import { appendFileSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { availableParallelism } from 'node:os';

const hidden = { '2.2m': 128, '4.7m': 256, '11m': 512, '32m': 1024, '101m': 2048 };
const [layers, feedForward, codes, specials] = [4, 1024, 1930, 8];

function readOptions() {
    const options = { sizes: '2.2m,11m', batches: '1,32', seconds: '1', modules: '.',
        threads: String(availableParallelism()) };
    const given = process.argv.slice(2);
    for (let i = 0; i + 1 < given.length; i += 2)
        options[given[i].replace(/^--/, '')] = given[i + 1];
    if (!options.models || !options.lengths) {
        console.error('usage: peer_onnx.mjs --models FOLDER --lengths FILE [FLAGS]');
        process.exit(2);
    }
    return options;
}

function load(modules) {
    try {
        return createRequire(join(resolve(modules), 'package.json'))('onnxruntime-node');
    } catch (error) {
        console.log(`peer_onnx: skipped, onnxruntime-node cannot be loaded (${error.code})`);
        process.exit(77);
    }
}

const options = readOptions();
const ort = load(options.modules);
const lengths = readFileSync(options.lengths, 'ascii').trim().split('\n').map(Number);
const sum = (list) => list.reduce((a, b) => a + b, 0);
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

function flop(size) {
    const h = hidden[size];
    return sum(lengths.map((n) => layers * (n * (8 * h * h + 4 * h * feedForward) + 4 * n * n * h)));
}

function inputs(batch) {
    const order = batch > 1 ? [...lengths].sort((a, b) => a - b) : lengths;
    const out = [];
    for (let first = 0; first < order.length; first += batch) {
        const some = order.slice(first, first + batch), most = Math.max(...some);
        const tokens = new BigInt64Array(some.length * most), mask = new BigInt64Array(tokens.length);
        for (let i = 0; i < tokens.length; i++) {
            tokens[i] = BigInt(specials + (i * 7919) % codes);
            mask[i] = i % most < some[Math.floor(i / most)] ? 1n : 0n;
        }
        const shape = [some.length, most];
        const feeds = { tokens: new ort.Tensor('int64', tokens, shape) };
        if (batch > 1)
            feeds.mask = new ort.Tensor('int64', mask, shape);
        out.push(feeds);
    }
    return out;
}

function report(size, batch, value, unit, valueCpu) {
    console.log(`ONNX Runtime: encoder inference ${size} batch ${batch} float32 ` +
        `${value.toFixed(1)} ${unit}`);
    const row = { work: 'encoder inference', size, batch, precision: 'float32', value, unit,
        limit: null, ratio: null, goal: null, ok: null, peer: 'ONNX Runtime' };
    if (valueCpu)
        row.value_cpu = valueCpu;
    if (options.json)
        appendFileSync(options.json, JSON.stringify(row) + '\n');
}

for (const size of options.sizes.split(',')) {
    for (const batch of options.batches.split(',').map(Number)) {
        const path = join(options.models, `${size}-${batch > 1 ? 'batch' : 'one'}.onnx`);
        const session = await ort.InferenceSession.create(path, { executionProviders: ['cpu'],
            graphOptimizationLevel: 'all', intraOpNumThreads: Number(options.threads),
            interOpNumThreads: 1 });
        const feeds = inputs(batch), took = [], used = [];
        await session.run(feeds[Math.floor(feeds.length / 2)]);
        for (const started = performance.now();
            took.length === 0 || performance.now() - started < 1e3 * Number(options.seconds);) {
            const cpu = process.cpuUsage(), before = performance.now();
            for (const feed of feeds)
                await session.run(feed);
            took.push((performance.now() - before) / 1e3);
            const spent = process.cpuUsage(cpu);
            used.push((spent.user + spent.system) / 1e6);
        }
        const tokens = sum(lengths);
        report(size, batch, tokens / median(took), 'tokens/s',
            tokens / median(used) * Number(options.threads));
        report(size, batch, flop(size) / median(took) * 1e-9, 'GFLOP/s');
        await session.release();
    }
}
