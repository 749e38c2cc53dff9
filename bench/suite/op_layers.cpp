// Linear, convolution, normalisation and pooling: the layers of MTL-net.
#include "retort/bench/suite/op_bench.h"
#include "retort/bench/suite/twins.h"
#include "retort/kernels/batch_norm_pool.h"
#include "retort/kernels/conv2d.h"
#include "retort/kernels/conv_block.h"
#include "retort/kernels/linear.h"

namespace retort::bench {
namespace {

void add_linear(std::vector<OpBench>& table, const LinearShape& z, const Twins& twins) {
  const std::string name = fmt::format("linear_{}x{}_{}", z.rows, z.in, z.out);
  const double flops = 2.0 * static_cast<double>(z.rows * z.in * z.out), weights = 4.0 * static_cast<double>(z.in * z.out);
  const double rows = 4.0 * static_cast<double>(z.rows * (z.in + z.out));
  // Inputs and gradients as they are, and as behind a ReLU: half of them zero.
  for (const bool half : {false, true}) {
    LinearShape shape = z;
    shape.activation = half ? Activation::relu : Activation::none;
    table.push_back(op_bench<LinearKernels>(
        name + (half ? "/forward_half" : "/forward"), flops, weights + rows,
        [z, half](Draw& d) {
          const std::int64_t n = z.rows * z.in;
          return Arrays{{half ? d.sparse(n, z.in, 1, 0.5) : d.normal(n), d.normal(z.in * z.out, 0.03f), d.normal(z.out)},
                        {zeros(z.rows * z.out)}};
        },
        [shape](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, shape, a.in[0], a.in[1], a.in[2], a.out[0]); }));
    if (twins.linear && !half) table.back().twins = twins.linear(shape, Pass::forward);
    table.push_back(op_bench<LinearKernels>(
        name + (half ? "/backward_half" : "/backward"), 2 * flops, 3 * weights + 2 * rows,
        [z](Draw& d) {
          return Arrays{
              {d.normal(z.rows * z.in), d.normal(z.in * z.out, 0.03f), d.normal(z.rows * z.out), d.normal(z.rows * z.out)},
              {zeros(z.rows * z.in), zeros(z.in * z.out), zeros(z.out)}};
        },
        [shape](const auto& k, Stream& s, DeviceArrays& a) {
          k.backward(s, shape, a.in[0], a.in[1], a.in[2], a.in[3], a.out[0], 1, a.out[1], a.out[2]);
        }));
    if (twins.linear && !half) table.back().twins = twins.linear(shape, Pass::backward);
  }
}

void add_matmul(std::vector<OpBench>& table, const MatmulShape& z) {
  const double n = 4.0 * static_cast<double>(z.m * z.k + z.k * z.n + z.m * z.n);
  table.push_back(op_bench<MatmulKernels>(
      fmt::format("matmul_{}x{}x{}", z.m, z.n, z.k), 2.0 * static_cast<double>(z.m * z.n * z.k), n,
      [z](Draw& d) {
        return Arrays{{d.normal(z.m * z.k), d.normal(z.k * z.n)}, {zeros(z.m * z.n)}};
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, z, a.in[0], a.in[1], 0, a.out[0]); }));
}

void add_conv(std::vector<OpBench>& table, const Conv2dShape& z, bool want_dx, const Twins& twins) {
  const std::string name = fmt::format("conv2d_{}x{}x{}x{}_{}", z.n, z.c, z.h, z.w, z.k);
  const std::int64_t in = z.n * z.c * z.h * z.w, out = z.n * z.k * z.h * z.ow(), weights = z.k * z.c * z.s;
  const double flops = 2.0 * static_cast<double>(out * z.c * z.s), bytes = 4.0 * static_cast<double>(in + out + weights);
  table.push_back(op_bench<Conv2dKernels>(
      name + "/forward", flops, bytes,
      [=](Draw& d) {
        return Arrays{{d.normal(in), d.normal(weights), d.normal(z.k)}, {zeros(out)}};
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, z, a.in[0], a.in[1], a.in[2], a.out[0]); }));
  if (twins.conv2d) table.back().twins = twins.conv2d(z, Pass::forward);
  const double works = want_dx ? 2 : 1;
  for (const bool sparse : {false, true}) {
    table.push_back(op_bench<Conv2dKernels>(
        name + (sparse ? "/backward_sparse" : "/backward"), works * flops, works * bytes,
        [=](Draw& d) {
          return Arrays{{d.normal(in), d.normal(weights), sparse ? d.sparse(out, z.ow(), z.h > 1 ? z.h : 1, 0.3) : d.normal(out)},
                        {zeros(want_dx ? in : 0), zeros(weights), zeros(z.k)}};
        },
        [z, want_dx](const auto& k, Stream& s, DeviceArrays& a) {
          k.backward(s, z, a.in[0], a.in[1], a.in[2], want_dx ? a.out[0] : nullptr, a.out[1], a.out[2]);
        }));
    if (want_dx && twins.conv2d) table.back().twins = twins.conv2d(z, Pass::backward);
  }
}

void add_conv_block(std::vector<OpBench>& table, const Conv2dShape& conv) {
  const ConvBlockShape z{conv, 1, 2, 2, 2};
  const std::int64_t in = conv.n * conv.c * conv.h * conv.w, out = conv.n * conv.k * z.oh() * z.ow(),
                     weights = conv.k * conv.c * conv.s;
  const std::int64_t k = conv.k;
  table.push_back(op_bench<ConvBlockKernels>(
      fmt::format("conv_block_{}x{}x{}x{}_{}", conv.n, conv.c, conv.h, conv.w, k),
      2.0 * static_cast<double>(conv.n * k * z.oh() * conv.ow() * conv.c * conv.s), 4.0 * static_cast<double>(in + out + weights),
      [=](Draw& d) {
        return Arrays{
            {d.normal(in), d.normal(weights), d.normal(k), d.positive(k), d.normal(k), d.normal(k, 0.1f), d.positive(k)},
            {zeros(out)}};
      },
      [z](const auto& f, Stream& s, DeviceArrays& a) {
        f.forward(s, z, a.in[0], a.in[1], a.in[2], {a.in[3], a.in[4], a.in[5], a.in[6]}, a.out[0]);
      }));
}

void add_batch_norm(std::vector<OpBench>& table, std::int64_t batch, std::int64_t c, std::int64_t spatial) {
  const BatchNormShape z{batch, c, spatial, 1e-5f, 0.1f, Activation::relu};
  const std::string name = fmt::format("batch_norm_{}x{}x{}", z.n, c, spatial);
  const std::int64_t n = z.n * c * spatial;
  const double bytes = 4.0 * static_cast<double>(n);
  const auto make = [=](Draw& d) {
    return Arrays{{d.normal(n), d.positive(c), d.normal(c), d.normal(c, 0.1f), d.positive(c)}, {zeros(n), zeros(c), zeros(c)}};
  };
  table.push_back(
      op_bench<BatchNormKernels>(name + "/forward_train", 0, 2 * bytes, make, [z](const auto& k, Stream& s, DeviceArrays& a) {
        k.forward_train(s, z, a.in[0], a.in[1], a.in[2], nullptr, nullptr, a.out[1], a.out[2], a.out[0]);
      }));
  table.push_back(
      op_bench<BatchNormKernels>(name + "/forward_eval", 0, 2 * bytes, make, [z](const auto& k, Stream& s, DeviceArrays& a) {
        k.forward_eval(s, z, a.in[0], a.in[1], a.in[2], a.in[3], a.in[4], a.out[0]);
      }));
  table.push_back(op_bench<BatchNormKernels>(
      name + "/backward_train", 0, 4 * bytes,
      [=](Draw& d) {
        Arrays arrays = make(d);
        arrays.in[2] = d.normal(n);                         // dy
        arrays.in.push_back(d.sparse(n, spatial, 1, 0.5));  // y, half of it cut off by the ReLU
        return arrays;
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) {
        k.backward_train(s, z, a.in[0], a.in[1], a.in[3], a.in[4], a.in[5], a.in[2], a.out[0], a.out[1], a.out[2]);
      }));
}

void add_max_pool(std::vector<OpBench>& table, const MaxPool2dShape& z) {
  const std::string name = fmt::format("max_pool2d_{}x{}x{}x{}", z.n, z.c, z.h, z.w);
  const std::int64_t in = z.n * z.c * z.h * z.w, out = z.n * z.c * z.oh() * z.ow();
  const double bytes = 4.0 * static_cast<double>(in + 2 * out);
  table.push_back(op_bench<MaxPool2dKernels>(
      name + "/forward", 0, bytes,
      [=](Draw& d) {
        return Arrays{{d.normal(in)}, {zeros(out)}, {}, {Ints(static_cast<std::size_t>(out))}};
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) { k.forward(s, z, a.in[0], a.out[0], a.int_out[0]); }));
  table.push_back(op_bench<MaxPool2dKernels>(
      name + "/backward", 0, bytes,
      [=](Draw& d) {
        Arrays arrays{{d.normal(out)}, {zeros(in)}, {Ints(static_cast<std::size_t>(out))}, {}};
        Stream stream(Device::cpu, 1);
        Floats y = zeros(out);
        kernel<MaxPool2dKernels>(Device::cpu).forward(stream, z, d.normal(in).data(), y.data(), arrays.ints[0].data());
        return arrays;
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) { k.backward(s, z, a.ints[0], a.in[0], a.out[0]); }));
}

void add_batch_norm_pool(std::vector<OpBench>& table, const MaxPool2dShape& pool) {
  const BatchNormPoolShape z{pool};
  const std::string name = fmt::format("batch_norm_pool_{}x{}x{}x{}", pool.n, pool.c, pool.h, pool.w);
  const std::int64_t c = pool.c, in = pool.n * c * pool.h * pool.w, out = pool.n * c * pool.oh() * pool.ow();
  table.push_back(op_bench<BatchNormPoolKernels>(
      name + "/forward_train", 0, 4.0 * static_cast<double>(in + out),
      [=](Draw& d) {
        return Arrays{{d.normal(in), d.positive(c), d.normal(c)}, {zeros(c), zeros(c), zeros(out)}};
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) {
        k.forward_train(s, z, a.in[0], a.in[1], a.in[2], nullptr, nullptr, a.out[0], a.out[1], a.out[2]);
      }));
  table.push_back(op_bench<BatchNormPoolKernels>(
      name + "/backward_train", 0, 4.0 * static_cast<double>(2 * in + out),
      [=](Draw& d) {
        return Arrays{{d.normal(in), d.positive(c), d.normal(c), d.normal(c, 0.1f), d.positive(c), d.normal(out)},
                      {zeros(in), zeros(c), zeros(c)}};
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) {
        k.backward_train(s, z, a.in[0], a.in[1], a.in[2], a.in[3], a.in[4], a.in[5], a.out[0], a.out[1], a.out[2]);
      }));
}

}  // namespace

void add_layer_rows(std::vector<OpBench>& table, std::int64_t batch, const Twins& twins) {
  add_linear(table, {batch, 1216, 1024, Activation::relu}, twins);
  add_linear(table, {batch, 1024, 512, Activation::relu}, twins);
  add_linear(table, {batch, 512, 12}, twins);
  add_linear(table, {batch, 512, 3}, twins);
  add_matmul(table, {batch, 1024, 1216, false, true});
  add_conv(table, {.n = batch, .c = 1, .h = 3, .w = 100, .k = 32, .r = 1, .s = 9}, false, twins);
  add_conv(table, {.n = batch, .c = 3, .h = 1, .w = 100, .k = 32, .r = 1, .s = 9}, false, twins);
  add_conv(table, {.n = batch, .c = 32, .h = 2, .w = 46, .k = 64, .r = 1, .s = 9}, true, twins);
  add_conv(table, {.n = batch, .c = 32, .h = 1, .w = 46, .k = 64, .r = 1, .s = 9}, true, twins);
  add_conv_block(table, {.n = batch, .c = 1, .h = 3, .w = 100, .k = 32, .r = 1, .s = 9});
  add_conv_block(table, {.n = batch, .c = 3, .h = 1, .w = 100, .k = 32, .r = 1, .s = 9});
  add_conv_block(table, {.n = batch, .c = 32, .h = 2, .w = 46, .k = 64, .r = 1, .s = 9});
  add_conv_block(table, {.n = batch, .c = 32, .h = 1, .w = 46, .k = 64, .r = 1, .s = 9});
  for (const std::int64_t h : {3, 1}) {
    add_batch_norm(table, batch, 32, h * 92);
    add_max_pool(table, {batch, 32, h, 92, 1, 2, 2, 2});
    add_batch_norm_pool(table, {batch, 32, h, 92, 1, 2, 2, 2});
  }
  for (const std::int64_t h : {2, 1}) {
    add_batch_norm(table, batch, 64, h * 38);
    add_max_pool(table, {batch, 64, h, 38, 1, 2, 2, 2});
    add_batch_norm_pool(table, {batch, 64, h, 38, 1, 2, 2, 2});
  }
}

}  // namespace retort::bench
