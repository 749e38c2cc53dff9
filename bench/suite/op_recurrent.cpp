// LSTM, GRU and the permutation in front of them, at the shapes of the rival architectures: 100 steps, 128 hidden.
#include "retort/bench/suite/op_bench.h"
#include "retort/kernels/recurrent.h"

namespace retort::bench {
namespace {

struct Sizes {
  RecurrentShape z;
  std::int64_t x, y, gates, w_ih, w_hh, blocks;
  double flops, bytes;
  Sizes(const RecurrentShape& shape, std::int64_t gate_blocks) : z(shape), blocks(gate_blocks) {
    x = z.steps * z.rows * z.in, y = z.steps * z.rows * z.hidden, gates = 4 * y;
    w_ih = blocks * z.hidden * z.in, w_hh = blocks * z.hidden * z.hidden;
    flops = 2.0 * static_cast<double>(z.steps * z.rows * (w_ih + w_hh));
    bytes = 4.0 * static_cast<double>(x + 2 * y + gates + w_ih + w_hh);
  }
  Arrays inputs(Draw& d) const {
    return {{d.normal(x), d.normal(w_ih, 0.08f), d.normal(w_hh, 0.08f), d.normal(blocks * z.hidden, 0.08f),
             d.normal(blocks * z.hidden, 0.08f)},
            {zeros(gates), zeros(y), zeros(y)}};
  }
  /// dx, dw_ih, dw_hh, db_ih, db_hh
  std::vector<Floats> gradients() const {
    return {zeros(x), zeros(w_ih), zeros(w_hh), zeros(blocks * z.hidden), zeros(blocks * z.hidden)};
  }
};

void add_lstm(std::vector<OpBench>& table, const RecurrentShape& z) {
  const Sizes n(z, 4);
  const std::string name = fmt::format("lstm_{}x{}x{}_{}", z.steps, z.rows, z.in, z.hidden);
  const auto forward = [z](const LstmKernels& k, Stream& s, auto& in, auto& out) {
    k.forward(s, z, in[0], in[1], in[2], in[3], in[4], out[0], out[1], out[2]);
  };
  table.push_back(op_bench<LstmKernels>(
      name + "/forward", n.flops, n.bytes, [n](Draw& d) { return n.inputs(d); },
      [forward](const auto& k, Stream& s, DeviceArrays& a) { forward(k, s, a.in, a.out); }));
  table.push_back(op_bench<LstmKernels>(
      name + "/backward", 2 * n.flops, 2 * n.bytes,
      [n, forward](Draw& d) {
        Arrays arrays = n.inputs(d);
        Stream stream(Device::cpu, 1);
        DeviceArrays run(Device::cpu, arrays);
        forward(kernel<LstmKernels>(Device::cpu), stream, run.in, run.out);
        run.fetch(arrays);
        for (Floats& values : arrays.out) arrays.in.push_back(std::move(values));
        arrays.in.push_back(d.normal(n.y));
        arrays.out = n.gradients();
        return arrays;
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) {
        k.backward(s, z, a.in[0], a.in[1], a.in[2], a.in[5], a.in[6], a.in[7], a.in[8], a.out[0], a.out[1], a.out[2], a.out[3],
                   a.out[4]);
      }));
}

void add_gru(std::vector<OpBench>& table, const RecurrentShape& z) {
  const Sizes n(z, 3);
  const std::string name = fmt::format("gru_{}x{}x{}_{}", z.steps, z.rows, z.in, z.hidden);
  const auto forward = [z](const GruKernels& k, Stream& s, auto& in, auto& out) {
    k.forward(s, z, in[0], in[1], in[2], in[3], in[4], out[0], out[1]);
  };
  table.push_back(op_bench<GruKernels>(
      name + "/forward", n.flops, n.bytes, [n](Draw& d) { return n.inputs(d); },
      [forward](const auto& k, Stream& s, DeviceArrays& a) { forward(k, s, a.in, a.out); }));
  table.push_back(op_bench<GruKernels>(
      name + "/backward", 2 * n.flops, 2 * n.bytes,
      [n, forward](Draw& d) {
        Arrays arrays = n.inputs(d);
        Stream stream(Device::cpu, 1);
        DeviceArrays run(Device::cpu, arrays);
        forward(kernel<GruKernels>(Device::cpu), stream, run.in, run.out);
        run.fetch(arrays);
        for (Floats& values : arrays.out) arrays.in.push_back(std::move(values));
        arrays.in.push_back(d.normal(n.y));
        arrays.out = n.gradients();
        return arrays;
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) {
        k.backward(s, z, a.in[0], a.in[1], a.in[2], a.in[5], a.in[6], a.in[8], a.out[0], a.out[1], a.out[2], a.out[3], a.out[4]);
      }));
}

}  // namespace

void add_recurrent_rows(std::vector<OpBench>& table, std::int64_t batch) {
  for (const std::int64_t in : {3, 128}) {
    add_lstm(table, {100, batch, in, 128});
    add_gru(table, {100, batch, in, 128});
  }
  const std::int64_t n = batch * 300;
  table.push_back(op_bench<PermuteKernels>(
      fmt::format("permute_{}x3x100", batch), 0, 8.0 * static_cast<double>(n),
      [n](Draw& d) {
        return Arrays{{d.normal(n)}, {zeros(n)}};
      },
      [batch](const auto& k, Stream& s, DeviceArrays& a) {
        k.forward(s, {{100, batch, 3}, {1, 300, 100}}, a.in[0], a.out[0]);
      }));
}

}  // namespace retort::bench
