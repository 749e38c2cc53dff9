// Maps, reductions, losses, optimisers, copies.
#include "retort/bench/suite/op_bench.h"
#include "retort/kernels/batch.h"
#include "retort/kernels/confusion.h"
#include "retort/kernels/copy.h"
#include "retort/kernels/dropout.h"
#include "retort/kernels/elementwise.h"
#include "retort/kernels/normalize.h"
#include "retort/kernels/optimizer.h"
#include "retort/kernels/reduce.h"
#include "retort/kernels/softmax.h"

#include <numeric>

namespace retort::bench {
namespace {

constexpr int classes1 = 12, classes2 = 3;
constexpr std::int64_t features = 512;        // what the heads see
constexpr std::int64_t parameters = 1797519;  // of mtl-net

double floats(std::int64_t n) { return 4.0 * static_cast<double>(n); }

void add_maps(std::vector<OpBench>& table, std::int64_t batch) {
  const std::int64_t n = batch * 32 * 92;
  const auto two = [n](Draw& d) { return Arrays{{d.normal(n), d.normal(n)}, {zeros(n)}}; };
  for (const Unary f : {Unary::relu, Unary::tanh, Unary::sigmoid, Unary::exp}) {
    table.push_back(
        op_bench<UnaryKernels>(fmt::format("{}_{}/forward", name(f), n), 0, 2 * floats(n), two,
                               [n, f](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, f, n, a.in[0], a.out[0]); }));
    table.push_back(op_bench<UnaryKernels>(
        fmt::format("{}_{}/backward", name(f), n), 0, 3 * floats(n), two,
        [n, f](const auto& k, Stream& s, DeviceArrays& a) { k.backward(s, f, n, a.in[0], a.in[0], a.in[1], a.out[0]); }));
  }
  for (const Binary f : {Binary::add, Binary::mul})
    table.push_back(op_bench<BinaryKernels>(fmt::format("{}_{}/forward", name(f), n), 0, 3 * floats(n), two,
                                            [n, f](const auto& k, Stream& s, DeviceArrays& a) {
                                              k.forward(s, f, {1, n, 1}, a.in[0], a.in[1], a.out[0]);
                                            }));
  table.push_back(op_bench<BinaryKernels>(
      fmt::format("mul_{}/backward", n), 0, 5 * floats(n),
      [n](Draw& d) {
        return Arrays{{d.normal(n), d.normal(n), d.normal(n)}, {zeros(n), zeros(n)}};
      },
      [n](const auto& k, Stream& s, DeviceArrays& a) {
        k.backward(s, Binary::mul, {1, n, 1}, a.in[0], a.in[1], a.in[2], a.out[0], a.out[1]);
      }));
  table.push_back(
      op_bench<ScaleKernels>(fmt::format("scale_{}", n), 0, 3 * floats(n), two,
                             [n](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, n, 0.5f, a.in[0], 0.5f, a.out[0]); }));
  const std::int64_t m = batch * features;
  table.push_back(op_bench<DropoutKernels>(
      fmt::format("dropout_{}", m), 0, 2 * floats(m),
      [m](Draw& d) {
        return Arrays{{d.normal(m)}, {zeros(m)}};
      },
      [m](const auto& k, Stream& s, DeviceArrays& a) { k.apply(s, m, 0.5f, {.seed = 1}, a.in[0], a.out[0]); }));
}

void add_reductions(std::vector<OpBench>& table, std::int64_t batch) {
  const std::int64_t n = batch * features;
  table.push_back(op_bench<ReduceKernels>(
      fmt::format("l1_{}/forward", parameters), 0, floats(parameters),
      [](Draw& d) {
        return Arrays{{d.normal(parameters)}, {zeros(1)}};
      },
      [](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, Reduction::l1, parameters, a.in[0], a.out[0]); }));
  table.push_back(op_bench<ReduceKernels>(
      fmt::format("mean_{}/backward", n), 0, floats(n),
      [n](Draw& d) {
        return Arrays{{d.normal(1)}, {zeros(n)}};
      },
      [n](const auto& k, Stream& s, DeviceArrays& a) { k.backward(s, Reduction::mean, n, nullptr, a.in[0], a.out[0]); }));
  table.push_back(op_bench<L2NormalizeKernels>(
      fmt::format("l2_normalize_{}x{}/forward", batch, features), 0, 2 * floats(n),
      [n, batch](Draw& d) {
        return Arrays{{d.normal(n)}, {zeros(batch), zeros(n)}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, batch, features, a.in[0], a.out[0], a.out[1]); }));
  table.push_back(op_bench<L2NormalizeKernels>(
      fmt::format("l2_normalize_{}x{}/backward", batch, features), 0, 3 * floats(n),
      [n, batch](Draw& d) {
        Floats norm = d.positive(batch);
        for (float& value : norm) value += 1;
        return Arrays{{std::move(norm), d.normal(n, 0.05f), d.normal(n)}, {zeros(n)}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) {
        k.backward(s, batch, features, a.in[0], a.in[1], a.in[2], a.out[0]);
      }));
}

void add_losses(std::vector<OpBench>& table, std::int64_t batch) {
  const std::int64_t n = batch * classes1;
  const auto logits = [n](Draw& d) { return Arrays{{d.normal(n), d.normal(n)}, {zeros(n)}}; };
  table.push_back(op_bench<LogSoftmaxKernels>(
      fmt::format("log_softmax_{}x{}/forward", batch, classes1), 0, 2 * floats(n), logits,
      [batch](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, batch, classes1, a.in[0], a.out[0]); }));
  table.push_back(op_bench<LogSoftmaxKernels>(
      fmt::format("log_softmax_{}x{}/backward", batch, classes1), 0, 3 * floats(n), logits,
      [batch](const auto& k, Stream& s, DeviceArrays& a) { k.backward(s, batch, classes1, a.in[0], a.in[1], a.out[0]); }));
  table.push_back(op_bench<CrossEntropyKernels>(
      fmt::format("cross_entropy_{}x{}", batch, classes1), 0, 2 * floats(n),
      [=](Draw& d) {
        return Arrays{{d.normal(n)}, {zeros(1), zeros(n)}, {d.labels(batch, classes1)}, {}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) {
        k.forward(s, batch, classes1, a.in[0], a.ints[0], a.out[0], a.out[1]);
      }));
  table.push_back(op_bench<DistillKlKernels>(
      fmt::format("distill_kl_{}x{}", batch, classes1), 0, 4 * floats(n),
      [n](Draw& d) {
        return Arrays{{d.normal(n), d.normal(n)}, {zeros(1), zeros(n), zeros(n)}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) {
        k.forward(s, batch, classes1, 3.0f, a.in[0], a.in[1], a.out[0], a.out[1], a.out[2]);
      }));
  const MultitaskShape z{batch, classes1, classes2};
  table.push_back(op_bench<MultitaskDistillKernels>(
      fmt::format("multitask_distill_loss_{}", batch), 0, floats(batch * (3 * (classes1 + classes2) + 2)),
      [=](Draw& d) {
        const std::int64_t m = batch * classes2;
        return Arrays{{d.normal(n), d.normal(m), d.normal(n), d.normal(m)},
                      {zeros(multitask_loss_count), zeros(n), zeros(m)},
                      {d.labels(batch, classes1), d.labels(batch, classes2)},
                      {}};
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) {
        k.forward(s, z, a.in[0], a.in[1], a.in[2], a.in[3], a.ints[0], a.ints[1], a.out[0], a.out[1], a.out[2]);
      }));
  table.push_back(op_bench<ConfusionKernels>(
      fmt::format("confusion_{}x{}", batch, classes1), 0, floats(n),
      [=](Draw& d) {
        return Arrays{{d.normal(n)}, {}, {d.labels(batch, classes1)}, {Ints(classes1 * classes1)}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) { k.add(s, batch, classes1, a.in[0], a.ints[0], a.int_out[0]); }));
}

void add_optimizers(std::vector<OpBench>& table) {
  constexpr std::int64_t n = parameters;
  AdamHyper adam;
  adam.ema = 0.999f;
  adam.lr = 1e-6f;  // so that thousands of timed steps leave the weights where they are
  table.push_back(op_bench<OptimizerKernels>(
      fmt::format("adam_ema_{}", n), 0, 9 * floats(n),
      [](Draw& d) {
        return Arrays{{d.normal(n)}, {d.normal(n), d.normal(n), d.positive(n), d.normal(n)}, {{3}}, {}};
      },
      [adam](const auto& k, Stream& s, DeviceArrays& a) {
        k.adam_ema(s, n, adam, a.ints[0], a.out[0], a.in[0], a.out[1], a.out[2], a.out[3]);
      }));
  SgdHyper sgd;
  sgd.lr = 1e-6f, sgd.momentum = 0.9f;
  table.push_back(op_bench<OptimizerKernels>(
      fmt::format("sgd_{}", n), 0, 5 * floats(n),
      [](Draw& d) {
        return Arrays{{d.normal(n)}, {d.normal(n), d.normal(n)}, {{3}}, {}};
      },
      [sgd](const auto& k, Stream& s, DeviceArrays& a) { k.sgd(s, n, sgd, a.ints[0], a.out[0], a.in[0], a.out[1]); }));
  table.push_back(op_bench<OptimizerKernels>(
      fmt::format("ema_{}", n), 0, 3 * floats(n),
      [](Draw& d) {
        return Arrays{{d.normal(n)}, {d.normal(n)}};
      },
      [](const auto& k, Stream& s, DeviceArrays& a) { k.ema(s, n, 0.999f, a.in[0], a.out[0]); }));
}

void add_copies(std::vector<OpBench>& table, std::int64_t batch) {
  constexpr std::int64_t window = 300, windows = 100'000;  // 120 MB: more than the caches hold, as in training
  table.push_back(op_bench<CopyKernels>(
      fmt::format("gather_{}x{}", batch, window), 0, 2 * floats(batch * window),
      [batch](Draw& d) {
        return Arrays{{Floats(windows * window, 1.5f)}, {zeros(batch * window)}, {d.labels(batch, windows)}, {}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) { k.gather(s, batch, window, a.ints[0], a.in[0], a.out[0]); }));
  table.push_back(op_bench<CopyKernels>(
      fmt::format("gather_labels_{}", batch), 0, 3 * floats(batch),
      [batch](Draw& d) {
        return Arrays{{}, {}, {d.labels(batch, windows), d.labels(windows, classes1)}, {Ints(static_cast<std::size_t>(batch))}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) { k.gather_labels(s, batch, a.ints[0], a.ints[1], a.int_out[0]); }));
  const BatchShape shape{batch, window, batch};
  table.push_back(op_bench<BatchKernels>(
      fmt::format("batch_{}x{}/gather", batch, window), 0, 2 * floats(batch * (window + 2)),
      [batch](Draw& d) {
        Ints classes = d.labels(windows, classes1), positions = d.labels(windows, classes2);
        return Arrays{{Floats(windows * window, 1.5f)},
                      {zeros(batch * window)},
                      {d.labels(2 * batch, windows), {1}, std::move(classes), std::move(positions)},
                      {Ints(static_cast<std::size_t>(batch)), Ints(static_cast<std::size_t>(batch))}};
      },
      [shape](const auto& k, Stream& s, DeviceArrays& a) {
        k.gather(s, shape, a.ints[0], a.ints[1], a.in[0], a.ints[2], a.ints[3], a.out[0], a.int_out[0], a.int_out[1]);
      }));
  table.push_back(op_bench<CopyKernels>(
      fmt::format("strided_{}x{}", batch, features), 0, 2 * floats(batch * features),
      [batch](Draw& d) {
        return Arrays{{d.normal(batch * features)}, {zeros(batch * 2 * features)}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) {
        k.strided(s, batch, features, a.in[0], features, a.out[0], 2 * features);
      }));
}

}  // namespace

void add_other_rows(std::vector<OpBench>& table, std::int64_t batch) {
  add_maps(table, batch);
  add_reductions(table, batch);
  add_losses(table, batch);
  add_optimizers(table);
  add_copies(table, batch);
}

}  // namespace retort::bench
