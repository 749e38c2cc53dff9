// oneDNN: inner product and convolution, each in the memory layout that oneDNN prefers. Conversions from and to ours happen in a
// Run's first call only, the one that is checked: what is timed is its kernel alone, which no program with plain tensors would
// get.
#include "retort/bench/suite/twins.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <memory>

namespace retort::bench {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::desc desc(const memory::dims& sizes, Tag tag) { return {sizes, memory::data_type::f32, tag}; }

/// One primitive with its arguments; converts inputs before and outputs after the first execution.
class Call {
 public:
  Call() : stream_(engine()) {}

  void add(int argument, const memory::desc& plain, const memory::desc& preferred, float* data, bool is_input) {
    memory ours(plain, engine(), data);
    memory theirs = plain == preferred ? ours : memory(preferred, engine());
    if (plain != preferred) (is_input ? before_ : after_).push_back(is_input ? std::pair(ours, theirs) : std::pair(theirs, ours));
    arguments_[argument] = theirs;
  }
  void set(const dnnl::primitive& primitive) { primitive_ = primitive; }

  void run() {
    if (first_)
      for (auto& [from, to] : before_) dnnl::reorder(from, to).execute(stream_, from, to);
    primitive_.execute(stream_, arguments_);
    if (first_)
      for (auto& [from, to] : after_) dnnl::reorder(from, to).execute(stream_, from, to);
    stream_.wait();
    first_ = false;
  }

 private:
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  std::unordered_map<int, memory> arguments_;
  std::vector<std::pair<memory, memory>> before_, after_;
  bool first_ = true;
};

/// The shapes and layouts of one layer: as we have them, and "any" for oneDNN to choose.
struct Layer {
  memory::desc x, w, b, y, any_x, any_w, any_y;
};

Layer layer(const LinearShape& z) {
  const memory::dims x{z.rows, z.in}, w{z.out, z.in}, b{z.out}, y{z.rows, z.out};
  return {desc(x, Tag::ab),  desc(w, Tag::ab),  desc(b, Tag::a),  desc(y, Tag::ab),
          desc(x, Tag::any), desc(w, Tag::any), desc(y, Tag::any)};
}

Layer layer(const Conv2dShape& z) {
  const memory::dims x{z.n, z.c, z.h, z.w}, w{z.k, z.c, z.r, z.s}, b{z.k}, y{z.n, z.k, z.oh(), z.ow()};
  return {desc(x, Tag::abcd), desc(w, Tag::abcd), desc(b, Tag::a),  desc(y, Tag::abcd),
          desc(x, Tag::any),  desc(w, Tag::any),  desc(y, Tag::any)};
}

constexpr auto training = dnnl::prop_kind::forward_training;
constexpr auto direct = dnnl::algorithm::convolution_direct;
const memory::dims one{1, 1}, none{0, 0};

auto forward_desc(const LinearShape& z, const Layer& l) {
  dnnl::primitive_attr attributes;
  if (z.activation == Activation::relu) {
    dnnl::post_ops relu;
    relu.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
    attributes.set_post_ops(relu);
  }
  return dnnl::inner_product_forward::primitive_desc({training, l.any_x, l.any_w, l.b, l.any_y}, attributes, engine());
}
auto forward_desc(const Conv2dShape&, const Layer& l) {
  return dnnl::convolution_forward::primitive_desc({training, direct, l.any_x, l.any_w, l.b, l.any_y, one, none, none}, engine());
}
template <class Hint>
auto data_desc(const LinearShape&, const Layer& l, const Hint& hint) {
  return dnnl::inner_product_backward_data::primitive_desc({l.any_x, l.any_w, l.any_y}, engine(), hint);
}
template <class Hint>
auto data_desc(const Conv2dShape&, const Layer& l, const Hint& hint) {
  return dnnl::convolution_backward_data::primitive_desc({direct, l.any_x, l.any_w, l.any_y, one, none, none}, engine(), hint);
}
template <class Hint>
auto weights_desc(const LinearShape&, const Layer& l, const Hint& hint) {
  return dnnl::inner_product_backward_weights::primitive_desc({l.any_x, l.any_w, l.b, l.any_y}, engine(), hint);
}
template <class Hint>
auto weights_desc(const Conv2dShape&, const Layer& l, const Hint& hint) {
  return dnnl::convolution_backward_weights::primitive_desc({direct, l.any_x, l.any_w, l.b, l.any_y, one, none, none}, engine(),
                                                            hint);
}

/// dnnl::inner_product_forward for its primitive_desc, and so on.
dnnl::primitive primitive(const dnnl::primitive_desc_base& desc) { return dnnl::primitive(desc.get()); }

template <class Shape>
void make_forward(const Shape& z, Call& call, DeviceArrays& a) {
  const Layer l = layer(z);
  const auto d = forward_desc(z, l);
  call.add(DNNL_ARG_SRC, l.x, d.src_desc(), a.in[0], true);
  call.add(DNNL_ARG_WEIGHTS, l.w, d.weights_desc(), a.in[1], true);
  call.add(DNNL_ARG_BIAS, l.b, l.b, a.in[2], true);
  call.add(DNNL_ARG_DST, l.y, d.dst_desc(), a.out[0], false);
  call.set(primitive(d));
}

/// `dy`: the gradient behind the activation.
template <class Shape>
void make_backward(const Shape& z, Call& data, Call& weights, DeviceArrays& a, float* dy) {
  const Layer l = layer(z);
  const auto hint = forward_desc(z, l);
  const auto d = data_desc(z, l, hint);
  data.add(DNNL_ARG_DIFF_DST, l.y, d.diff_dst_desc(), dy, true);
  data.add(DNNL_ARG_WEIGHTS, l.w, d.weights_desc(), a.in[1], true);
  data.add(DNNL_ARG_DIFF_SRC, l.x, d.diff_src_desc(), a.out[0], false);
  data.set(primitive(d));
  const auto w = weights_desc(z, l, hint);
  weights.add(DNNL_ARG_DIFF_DST, l.y, w.diff_dst_desc(), dy, true);
  weights.add(DNNL_ARG_SRC, l.x, w.src_desc(), a.in[0], true);
  weights.add(DNNL_ARG_DIFF_WEIGHTS, l.w, w.diff_weights_desc(), a.out[1], false);
  weights.add(DNNL_ARG_DIFF_BIAS, l.b, l.b, a.out[2], false);
  weights.set(primitive(w));
}

/// Made in the first call, when the arrays are known.
struct State {
  std::unique_ptr<Call> first, second;
  Floats dy;
};

template <class Shape>
Run make_run(const Shape& z, Pass pass, std::function<void(DeviceArrays&, Floats& dy)> mask) {
  const auto state = std::make_shared<State>();
  return [=](Stream&, DeviceArrays& a) {
    if (!state->first) {
      state->first = std::make_unique<Call>();
      if (pass == Pass::forward) {
        make_forward(z, *state->first, a);
      } else {
        state->second = std::make_unique<Call>();
        if (mask) mask(a, state->dy);
        make_backward(z, *state->first, *state->second, a, mask ? state->dy.data() : a.in[2]);
      }
    } else if (state->second && mask) {
      mask(a, state->dy);
    }
    state->first->run();
    if (state->second) state->second->run();
  };
}

}  // namespace

std::string onednn_version() {
  const auto* v = dnnl::version();
  return fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
}

Twin onednn_linear(const LinearShape& z, Pass pass) {
  const auto mask = [z](DeviceArrays& a, Floats& dy) {  // through the ReLU
    dy.resize(static_cast<std::size_t>(z.rows * z.out));
    const bool relu = z.activation == Activation::relu;
    for (std::size_t i = 0; i < dy.size(); ++i) dy[i] = relu && !(a.in[2][i] > 0) ? 0 : a.in[3][i];
  };
  return {"onednn", [=](int threads) {
            omp_set_num_threads(threads);
            return make_run(z, pass, mask);
          }};
}

Twin onednn_conv2d(const Conv2dShape& z, Pass pass) {
  return {"onednn", [=](int threads) {
            omp_set_num_threads(threads);
            return make_run(z, pass, {});
          }};
}

}  // namespace retort::bench
