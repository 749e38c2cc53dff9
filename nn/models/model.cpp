#include "retort/nn/models/model.h"

#include "retort/nn/models/anpo_net.h"
#include "retort/nn/models/mtl_net.h"
#include "retort/nn/models/recurrent_net.h"

namespace retort::nn {

namespace {

struct Architecture {
  const char* name;
  std::unique_ptr<TwoTaskModel> (*make)(Context&, const ModelSpec&);
};

template <bool batch_norm, Axes axes>
std::unique_ptr<TwoTaskModel> mtl_net(Context& context, const ModelSpec& spec) {
  return std::make_unique<MtlNet>(context, spec, MtlNetForm{batch_norm, axes});
}

template <Cell cell, bool bidirectional>
std::unique_ptr<TwoTaskModel> recurrent_net(Context& context, const ModelSpec& spec) {
  return std::make_unique<RecurrentNet>(context, spec, cell, bidirectional);
}

std::unique_ptr<TwoTaskModel> anpo_net(Context& context, const ModelSpec& spec) {
  return std::make_unique<AnpoNet>(context, spec);
}

// The three forms of MTL-net and its rivals (docs/architectures.md says where each comes from).
constexpr Architecture table[] = {
    {"mtl-net", mtl_net<true, Axes::channels>},
    {"mtl-net-paper", mtl_net<true, Axes::rows>},
    {"mtl-net-released", mtl_net<false, Axes::rows>},
    {"lstm", recurrent_net<Cell::lstm, false>},
    {"bilstm", recurrent_net<Cell::lstm, true>},
    {"gru", recurrent_net<Cell::gru, false>},
    {"anpo-net", anpo_net},
};

/// Two nets that share nothing, one a task.
class SingleTaskPair final : public TwoTaskModel {
 public:
  SingleTaskPair(std::unique_ptr<TwoTaskModel> net1, std::unique_ptr<TwoTaskModel> net2)
      : net1_(std::move(net1)), net2_(std::move(net2)) {
    add_module("net1", *net1_);
    add_module("net2", *net2_);
  }

  Logits forward(const Tensor& windows) const override { return {net1_->forward(windows).task1, net2_->forward(windows).task2}; }
  Tensor features(const Tensor&) const override { fail("a pair of single-task nets has no shared features"); }
  Logits heads(const Tensor&) const override { fail("a pair of single-task nets has no shared features"); }
  std::int64_t feature_count() const override { return 0; }
  std::array<std::int64_t, 2> outputs() const override { return {net1_->outputs()[0], net2_->outputs()[1]}; }

  std::vector<LayerSummary> summary() const override {
    std::vector<LayerSummary> layers;
    for (const auto& [prefix, net] : {std::pair{"net1.", net1_.get()}, {"net2.", net2_.get()}})
      for (LayerSummary layer : net->summary()) {
        layer.name = prefix + layer.name;
        layers.push_back(std::move(layer));
      }
    return layers;
  }

 private:
  std::unique_ptr<TwoTaskModel> net1_, net2_;
};

}  // namespace

std::int64_t TwoTaskModel::flops() const {
  std::int64_t total = 0;
  for (const LayerSummary& layer : summary()) total += layer.flops;
  return total;
}

std::vector<std::string> architectures() {
  std::vector<std::string> names;
  for (const Architecture& architecture : table) names.emplace_back(architecture.name);
  return names;
}

std::unique_ptr<TwoTaskModel> make_model(Context& context, const ModelSpec& spec) {
  for (const Architecture& architecture : table)
    if (spec.architecture == architecture.name) return architecture.make(context, spec);
  fail<InputError>("unknown architecture '{}'; known are {}", spec.architecture, fmt::join(architectures(), ", "));
}

std::unique_ptr<TwoTaskModel> make_single_task_pair(Context& context, const ModelSpec& spec) {
  ModelSpec first = spec, second = spec;
  first.classes[1] = 0;
  second.classes = {0, spec.architecture == "mtl-net-released" ? spec.classes[0] : spec.classes[1]};
  second.seed = spec.seed + 1;  // two nets, two initialisations
  return std::make_unique<SingleTaskPair>(make_model(context, first), make_model(context, second));
}

}  // namespace retort::nn
