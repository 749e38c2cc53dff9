// Every CPU kernel at MTL-net's shapes, for each implementation but the reference: time, GFLOP/s, GB/s and the share of the
// machine's measured roof. A kernel whose result differs from the reference is reported as wrong and not timed.
//
//   bench_kernels_ops [--threads=N] [--batch=N] [any Google Benchmark flag, e.g. --benchmark_filter=linear]
#include "retort/bench/kernels/roof.h"
#include "retort/kernels/batch_norm.h"
#include "retort/kernels/conv2d.h"
#include "retort/kernels/conv_block.h"
#include "retort/kernels/elementwise.h"
#include "retort/kernels/max_pool2d.h"
#include "retort/kernels/optimizer.h"
#include "retort/kernels/registry.h"
#include "retort/kernels/softmax.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace retort::bench {
namespace {

using Floats = std::vector<float>;

/// The arrays of one case. Outputs are put back to their first state before the two runs that are compared.
struct Arrays {
  std::vector<Floats> in, out;
  std::vector<std::vector<std::int32_t>> labels;
};

struct Bench {
  int threads = 0;
  std::int64_t batch = 64;
  Roof roof;
  std::unique_ptr<Stream> stream;
  std::mt19937 random{20240717};

  Floats normal(std::int64_t n, float scale = 1) {
    std::normal_distribution<float> draw(0, scale);
    Floats values(static_cast<std::size_t>(n));
    for (float& value : values) value = draw(random);
    return values;
  }

  Floats positive(std::int64_t n) {
    Floats values = normal(n);
    for (float& value : values) value = std::abs(value);
    return values;
  }

  /// Zero but for about `share` of the elements of every `rows`-th row: what comes back through a ReLU and a (1,2)/2 pooling.
  Floats sparse(std::int64_t n, std::int64_t columns, std::int64_t rows, double share) {
    Floats values = normal(n);
    std::bernoulli_distribution keep(share);
    for (std::int64_t i = 0; i < n; ++i)
      if (i / columns % rows != 0 || !keep(random)) values[static_cast<std::size_t>(i)] = 0;
    return values;
  }

  std::vector<std::int32_t> labels(std::int64_t rows, int classes) {
    std::uniform_int_distribution<std::int32_t> draw(0, classes - 1);
    std::vector<std::int32_t> values(static_cast<std::size_t>(rows));
    for (auto& value : values) value = draw(random);
    return values;
  }

  Floats zeros(std::int64_t n) { return Floats(static_cast<std::size_t>(n)); }
};

double relative_error(const Floats& actual, const Floats& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / (size > 0 ? size : 1));
}

template <class Kernels>
using Call = std::function<void(const Kernels&, Stream&, Arrays&)>;

/// Registers one case under all implementations. flops and bytes are those the operation needs, whoever does it.
template <class Kernels>
void add(Bench& bench, const std::string& name, double flops, double bytes, Arrays arrays, Call<Kernels> call) {
  auto& table = KernelTable<Kernels>::instance();
  const auto data = std::make_shared<const Arrays>(std::move(arrays));
  for (const std::string& implementation : table.info(Device::cpu).names) {
    if (implementation == "ref") continue;
    const auto run = [&bench, &table, data, call, flops, bytes, implementation](benchmark::State& state) {
      Arrays expected = *data, actual = *data;
      const Kernels& kernels = table.get(Device::cpu, implementation);
      call(table.get(Device::cpu, "ref"), *bench.stream, expected);
      call(kernels, *bench.stream, actual);
      for (std::size_t i = 0; i < expected.out.size(); ++i)
        if (const double error = relative_error(actual.out[i], expected.out[i]); !(error < 1e-5)) {
          state.SkipWithError(fmt::format("wrong: output {} is off by {:.1e}", i, error).c_str());
          return;
        }
      for (auto _ : state) call(kernels, *bench.stream, actual);
      using benchmark::Counter;
      const auto rate = Counter::kIsIterationInvariantRate;
      state.counters["GFLOP/s"] = Counter(flops * 1e-9, rate);
      state.counters["GB/s"] = Counter(bytes * 1e-9, rate);
      state.counters["of_roof"] = Counter(std::max(flops / bench.roof.flops, bytes / bench.roof.bytes), rate);
    };
    benchmark::RegisterBenchmark((name + "/" + implementation).c_str(), run)->UseRealTime()->Unit(benchmark::kMicrosecond);
  }
}

void add_linear(Bench& bench, std::int64_t in, std::int64_t out, bool relu) {
  const LinearShape z{bench.batch, in, out, relu ? Activation::relu : Activation::none};
  const std::string name = fmt::format("linear_{}x{}_{}", z.rows, in, out);
  const double flops = 2.0 * static_cast<double>(z.rows * in * out), weights = 4.0 * static_cast<double>(in * out);
  const double rows = 4.0 * static_cast<double>(z.rows * (in + out));
  const Floats x = bench.normal(z.rows * in), w = bench.normal(in * out, 0.03f), b = bench.normal(out);
  const Floats y = bench.normal(z.rows * out), dy = bench.normal(z.rows * out);
  add<LinearKernels>(bench, name + "/forward", flops, weights + rows, {{x, w, b}, {bench.zeros(z.rows * out)}, {}},
                     [z](const LinearKernels& k, Stream& s, Arrays& a) {
                       k.forward(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(), a.out[0].data());
                     });
  add<LinearKernels>(bench, name + "/backward", 2 * flops, 3 * weights + 2 * rows,
                     {{x, w, y, dy}, {bench.zeros(z.rows * in), bench.zeros(in * out), bench.zeros(out)}, {}},
                     [z](const LinearKernels& k, Stream& s, Arrays& a) {
                       k.backward(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(), a.in[3].data(), a.out[0].data(),
                                  a.out[1].data(), a.out[2].data());
                     });
}

void add_conv(Bench& bench, std::int64_t c, std::int64_t h, std::int64_t w, std::int64_t k, bool want_dx) {
  const Conv2dShape z{bench.batch, c, h, w, k, 1, 9};
  const std::string name = fmt::format("conv2d_{}x{}x{}x{}_{}", z.n, c, h, w, k);
  const std::int64_t in = z.n * c * h * w, out = z.n * k * h * z.ow(), weights = k * c * z.s;
  const double flops = 2.0 * static_cast<double>(out * c * z.s), bytes = 4.0 * static_cast<double>(in + out + weights);
  const Floats x = bench.normal(in), filter = bench.normal(weights), b = bench.normal(k);
  add<Conv2dKernels>(bench, name + "/forward", flops, bytes, {{x, filter, b}, {bench.zeros(out)}, {}},
                     [z](const Conv2dKernels& f, Stream& s, Arrays& a) {
                       f.forward(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(), a.out[0].data());
                     });
  const double works = want_dx ? 2 : 1;
  for (const bool sparse : {false, true})
    add<Conv2dKernels>(bench, name + (sparse ? "/backward_sparse" : "/backward"), works * flops, works * bytes,
                       {{x, filter, sparse ? bench.sparse(out, z.ow(), h, 0.3) : bench.normal(out)},
                        {bench.zeros(in), bench.zeros(weights), bench.zeros(k)},
                        {}},
                       [z, want_dx](const Conv2dKernels& f, Stream& s, Arrays& a) {
                         f.backward(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(), want_dx ? a.out[0].data() : nullptr,
                                    a.out[1].data(), a.out[2].data());
                       });
}

void add_conv_block(Bench& bench, std::int64_t c, std::int64_t h, std::int64_t w, std::int64_t k) {
  const ConvBlockShape z{{bench.batch, c, h, w, k, 1, 9}, 1, 2, 2, 2};
  const std::int64_t in = z.conv.n * c * h * w, out = z.conv.n * k * z.oh() * z.ow(), weights = k * c * z.conv.s;
  const double flops = 2.0 * static_cast<double>(z.conv.n * k * z.oh() * z.conv.ow() * c * z.conv.s);
  const Floats x = bench.normal(in), filter = bench.normal(weights), b = bench.normal(k), gamma = bench.positive(k),
               beta = bench.normal(k), mean = bench.normal(k, 0.1f), var = bench.positive(k);
  add<ConvBlockKernels>(bench, fmt::format("conv_block_{}x{}x{}x{}_{}/forward", z.conv.n, c, h, w, k), flops,
                        4.0 * static_cast<double>(in + out + weights),
                        {{x, filter, b, gamma, beta, mean, var}, {bench.zeros(out)}, {}},
                        [z](const ConvBlockKernels& f, Stream& s, Arrays& a) {
                          f.forward(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(),
                                    {a.in[3].data(), a.in[4].data(), a.in[5].data(), a.in[6].data()}, a.out[0].data());
                        });
}

void add_batch_norm(Bench& bench, std::int64_t c, std::int64_t spatial) {
  const BatchNormShape z{bench.batch, c, spatial, 1e-5f, 0.1f, Activation::relu};
  const std::string name = fmt::format("batch_norm_{}x{}x{}", z.n, c, spatial);
  const std::int64_t n = z.n * c * spatial;
  const double bytes = 4.0 * static_cast<double>(n);
  const Floats x = bench.normal(n), gamma = bench.positive(c), beta = bench.normal(c), mean = bench.normal(c, 0.1f),
               scale = bench.positive(c);
  const auto outputs = [&] { return std::vector<Floats>{bench.zeros(n), bench.zeros(c), bench.zeros(c)}; };
  add<BatchNormKernels>(bench, name + "/forward_train", 0, 2 * bytes, {{x, gamma, beta}, outputs(), {}},
                        [z](const BatchNormKernels& k, Stream& s, Arrays& a) {
                          k.forward_train(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(), nullptr, nullptr, a.out[1].data(),
                                          a.out[2].data(), a.out[0].data());
                        });
  add<BatchNormKernels>(bench, name + "/forward_eval", 0, 2 * bytes, {{x, gamma, beta, mean, scale}, outputs(), {}},
                        [z](const BatchNormKernels& k, Stream& s, Arrays& a) {
                          k.forward_eval(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(), a.in[3].data(), a.in[4].data(),
                                         a.out[0].data());
                        });
  add<BatchNormKernels>(bench, name + "/backward_train", 0, 4 * bytes,
                        {{x, gamma, mean, scale, bench.normal(n), bench.sparse(n, spatial, 1, 0.5)}, outputs(), {}},
                        [z](const BatchNormKernels& k, Stream& s, Arrays& a) {
                          k.backward_train(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(), a.in[3].data(), a.in[4].data(),
                                           a.in[5].data(), a.out[0].data(), a.out[1].data(), a.out[2].data());
                        });
}

void add_max_pool(Bench& bench, std::int64_t c, std::int64_t h, std::int64_t w) {
  const MaxPool2dShape z{bench.batch, c, h, w, 1, 2, 2, 2};
  const std::string name = fmt::format("max_pool2d_{}x{}x{}x{}", z.n, c, h, w);
  const std::int64_t in = z.n * c * h * w, out = z.n * c * z.oh() * z.ow();
  const double bytes = 4.0 * static_cast<double>(in + 2 * out);
  Arrays arrays{{bench.normal(in), bench.normal(out)}, {bench.zeros(out), bench.zeros(in)}, {}};
  arrays.labels.emplace_back(static_cast<std::size_t>(out));
  add<MaxPool2dKernels>(bench, name + "/forward", 0, bytes, arrays, [z](const MaxPool2dKernels& k, Stream& s, Arrays& a) {
    k.forward(s, z, a.in[0].data(), a.out[0].data(), a.labels[0].data());
  });
  KernelTable<MaxPool2dKernels>::instance()
      .get(Device::cpu, "ref")
      .forward(*bench.stream, z, arrays.in[0].data(), arrays.out[0].data(), arrays.labels[0].data());
  add<MaxPool2dKernels>(bench, name + "/backward", 0, bytes, arrays, [z](const MaxPool2dKernels& k, Stream& s, Arrays& a) {
    k.backward(s, z, a.labels[0].data(), a.in[1].data(), a.out[1].data());
  });
}

void add_elementwise(Bench& bench) {
  const std::int64_t n = bench.batch * 32 * 92;
  const double bytes = 4.0 * static_cast<double>(n);
  add<UnaryKernels>(
      bench, fmt::format("relu_{}/forward", n), 0, 2 * bytes, {{bench.normal(n)}, {bench.zeros(n)}, {}},
      [n](const UnaryKernels& k, Stream& s, Arrays& a) { k.forward(s, Unary::relu, n, a.in[0].data(), a.out[0].data()); });
  add<UnaryKernels>(bench, fmt::format("relu_{}/backward", n), 0, 3 * bytes,
                    {{bench.normal(n), bench.normal(n)}, {bench.zeros(n)}, {}}, [n](const UnaryKernels& k, Stream& s, Arrays& a) {
                      k.backward(s, Unary::relu, n, nullptr, a.in[0].data(), a.in[1].data(), a.out[0].data());
                    });
  add<BinaryKernels>(bench, fmt::format("add_{}/forward", n), 0, 3 * bytes,
                     {{bench.normal(n), bench.normal(n)}, {bench.zeros(n)}, {}},
                     [n](const BinaryKernels& k, Stream& s, Arrays& a) {
                       k.forward(s, Binary::add, {1, n, 1}, a.in[0].data(), a.in[1].data(), a.out[0].data());
                     });
}

void add_loss(Bench& bench) {
  const MultitaskShape z{bench.batch, 12, 3};
  Arrays arrays{{bench.normal(z.rows * 12), bench.normal(z.rows * 3), bench.normal(z.rows * 12), bench.normal(z.rows * 3)},
                {bench.zeros(multitask_loss_count), bench.zeros(z.rows * 12), bench.zeros(z.rows * 3)},
                {bench.labels(z.rows, 12), bench.labels(z.rows, 3)}};
  add<MultitaskDistillKernels>(bench, fmt::format("multitask_distill_loss_{}", z.rows), 0, 4.0 * static_cast<double>(z.rows * 47),
                               arrays, [z](const MultitaskDistillKernels& k, Stream& s, Arrays& a) {
                                 k.forward(s, z, a.in[0].data(), a.in[1].data(), a.in[2].data(), a.in[3].data(),
                                           a.labels[0].data(), a.labels[1].data(), a.out[0].data(), a.out[1].data(),
                                           a.out[2].data());
                               });
}

void add_optimizer(Bench& bench) {
  constexpr std::int64_t n = 1797519;
  AdamHyper hyper;
  hyper.ema = 0.999f;
  hyper.lr = 1e-6f;  // so that thousands of timed steps leave the weights where they are
  Arrays arrays{{bench.normal(n)}, {bench.normal(n), bench.normal(n), bench.positive(n), bench.normal(n)}, {{3}}};
  add<OptimizerKernels>(bench, fmt::format("adam_ema_{}", n), 0, 9.0 * 4 * n, arrays,
                        [hyper](const OptimizerKernels& k, Stream& s, Arrays& a) {
                          k.adam_ema(s, n, hyper, a.labels[0].data(), a.out[0].data(), a.in[0].data(), a.out[1].data(),
                                     a.out[2].data(), a.out[3].data());
                        });
}

/// `--name=value` of our own, taken out of the arguments that Google Benchmark sees.
std::int64_t take_flag(int& count, char** arguments, std::string_view name, std::int64_t fallback) {
  const std::string prefix = fmt::format("--{}=", name);
  std::int64_t value = fallback;
  int kept = 1;
  for (int i = 1; i < count; ++i)
    if (std::string_view(arguments[i]).starts_with(prefix))
      value = std::stoll(arguments[i] + prefix.size());
    else
      arguments[kept++] = arguments[i];
  count = kept;
  return value;
}

int run(int count, char** arguments) {
  register_kernels();
  Bench bench;
  bench.threads = static_cast<int>(take_flag(count, arguments, "threads", 0));
  bench.batch = take_flag(count, arguments, "batch", 64);
  bench.stream = std::make_unique<Stream>(Device::cpu, bench.threads);
  bench.threads = bench.stream->threads().size();
  bench.roof = measure_roof(bench.threads);
  benchmark::AddCustomContext("threads", std::to_string(bench.threads));
  benchmark::AddCustomContext("roof",
                              fmt::format("{:.0f} GFLOP/s, {:.1f} GB/s", bench.roof.flops * 1e-9, bench.roof.bytes * 1e-9));
  benchmark::AddCustomContext("device", describe(Device::cpu));
  add_linear(bench, 1216, 1024, true);
  add_linear(bench, 1024, 512, true);
  add_linear(bench, 512, 12, false);
  add_linear(bench, 512, 3, false);
  add_conv(bench, 1, 3, 100, 32, false);
  add_conv(bench, 3, 1, 100, 32, false);
  add_conv(bench, 32, 2, 46, 64, true);
  add_conv(bench, 32, 1, 46, 64, true);
  add_conv_block(bench, 1, 3, 100, 32);
  add_conv_block(bench, 3, 1, 100, 32);
  add_conv_block(bench, 32, 2, 46, 64);
  add_conv_block(bench, 32, 1, 46, 64);
  add_batch_norm(bench, 32, 3 * 92);
  add_batch_norm(bench, 64, 2 * 38);
  add_max_pool(bench, 32, 3, 92);
  add_max_pool(bench, 64, 2, 38);
  add_elementwise(bench);
  add_loss(bench);
  add_optimizer(bench);
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace retort::bench

int main(int count, char** arguments) { return retort::bench::run(count, arguments); }
