// LSTM, GRU and the permutation in front of them, at the shapes of the rival architectures: 100 steps, 128 hidden.
#include "retort/bench/suite/op_bench.h"
#include "retort/kernels/recurrent.h"

#include <type_traits>

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

/// Forward and backward of LstmKernels or GruKernels; an LSTM also has its cell states.
template <class Kernels>
void add_cells(std::vector<OpBench>& table, std::int64_t gate_blocks, const RecurrentShape& z) {
  constexpr bool lstm = std::is_same_v<Kernels, LstmKernels>;
  const Sizes n(z, gate_blocks);
  const std::string name = fmt::format("{}_{}x{}x{}_{}", Kernels::op, z.steps, z.rows, z.in, z.hidden);
  const auto forward = [z](const Kernels& k, Stream& s, auto& in, auto& out) {
    if constexpr (lstm)
      k.forward(s, z, in[0], in[1], in[2], in[3], in[4], out[0], out[1], out[2]);
    else
      k.forward(s, z, in[0], in[1], in[2], in[3], in[4], out[0], out[1]);
  };
  table.push_back(op_bench<Kernels>(
      name + "/forward", n.flops, n.bytes, [n](Draw& d) { return n.inputs(d); },
      [forward](const auto& k, Stream& s, DeviceArrays& a) { forward(k, s, a.in, a.out); }));
  table.push_back(op_bench<Kernels>(
      name + "/backward", 2 * n.flops, 2 * n.bytes,
      [n, forward](Draw& d) {  // in: x and weights, then what forward made of them (gates, y, cells), then dy
        Arrays arrays = n.inputs(d);
        Stream stream(Device::cpu, 1);
        DeviceArrays run(Device::cpu, arrays);
        forward(kernel<Kernels>(Device::cpu), stream, run.in, run.out);
        run.fetch(arrays);
        for (Floats& values : arrays.out) arrays.in.push_back(std::move(values));
        arrays.in.push_back(d.normal(n.y));
        arrays.out = n.gradients();
        return arrays;
      },
      [z](const auto& k, Stream& s, DeviceArrays& a) {
        const auto &in = a.in, &out = a.out;
        if constexpr (lstm)
          k.backward(s, z, in[0], in[1], in[2], in[5], in[6], in[7], in[8], out[0], out[1], out[2], out[3], out[4]);
        else
          k.backward(s, z, in[0], in[1], in[2], in[5], in[6], in[8], out[0], out[1], out[2], out[3], out[4]);
      }));
}

}  // namespace

void add_recurrent_rows(std::vector<OpBench>& table, std::int64_t batch) {
  for (const std::int64_t in : {3, 128}) {
    add_cells<LstmKernels>(table, 4, {100, batch, in, 128});
    add_cells<GruKernels>(table, 3, {100, batch, in, 128});
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
