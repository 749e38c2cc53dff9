// Every op, forward and backward, against PyTorch in float64 (fixtures by golden/make_golden.py), for every CPU implementation.
//
// Tolerance: the relative error of each output and gradient in the Euclidean norm, 5e-6 unless a case says why it is more. That
// is some tens of float32 roundings; a wrong formula is off by a thousand times that.
#include "catch.h"
#include "golden.h"

#include "retort/core/ops.h"
#include "retort/kernels/linear.h"
#include "retort/kernels/optimizer.h"
#include "retort/kernels/registry.h"

#include <functional>

namespace {

using namespace retort;
using golden::Case;

constexpr double tolerance = 5e-6;

/// One case on one context: its inputs as tensors, and the comparison with what PyTorch made of them.
class Run {
 public:
  Run(Context& context, const Case& c) : context_(context), case_(c) {}

  const nlohmann::json& parameters() const { return case_.parameters(); }
  bool has(const std::string& name) const { return case_.has(name); }
  Context& context() { return context_; }

  /// An input that collects a gradient.
  Tensor input(const std::string& name) {
    Tensor t = constant(name);
    t.set_requires_grad();
    inputs_.emplace_back(name, t);
    return t;
  }
  Tensor constant(const std::string& name) { return Tensor::from(context_, case_.shape(name), case_.floats(name)); }
  Tensor labels(const std::string& name) { return Tensor::from(context_, case_.shape(name), case_.ints(name)); }

  void compare(const std::string& name, const Tensor& got, double bound = tolerance) {
    INFO(case_.name() << " " << name);
    CHECK(golden::relative_error(got.to_vector(), case_.floats(name)) <= bound);
  }

  /// Leaves blocks full of NaN in the arena, so that an element which an op forgets to write does not look like a zero.
  void poison() {
    std::vector<Tensor> blocks;
    for (const Tensor& like : {Tensor::empty(context_, case_.shape("y")), Tensor::empty(context_, case_.shape("dy"))})
      for (int i = 0; i < 4; ++i) blocks.push_back(Tensor::full(context_, like.shape(), std::nanf("")));
    for (const auto& [name, t] : inputs_)
      for (int i = 0; i < 4; ++i) blocks.push_back(Tensor::full(context_, t.shape(), std::nanf("")));
  }

  /// Compares y, pulls dy back and compares the gradient of every input.
  void finish(const Tensor& y, double bound = tolerance) {
    compare("y", y, bound);
    y.backward(ops::reshape(constant("dy"), y.shape().sizes()));
    for (const auto& [name, t] : inputs_) {
      REQUIRE(t.grad().defined());
      compare("d" + name, t.grad(), bound);
    }
  }

 private:
  Context& context_;
  const Case& case_;
  std::vector<std::pair<std::string, Tensor>> inputs_;
};

std::array<std::int64_t, 2> pair(const nlohmann::json& j) { return {j.at(0), j.at(1)}; }

void conv2d(Run& run) {
  const Tensor x = run.input("x"), w = run.input("w"), b = run.has("b") ? run.input("b") : Tensor();
  run.poison();
  run.finish(ops::conv2d(x, w, b, {pair(run.parameters()["stride"]), pair(run.parameters()["pad"])}));
}

void linear(Run& run) {
  const Tensor x = run.input("x"), w = run.input("w"), b = run.has("b") ? run.input("b") : Tensor();
  run.poison();
  run.finish(ops::linear(x, w, b, run.parameters()["relu"].get<bool>()));
}

void batch_norm(Run& run) {
  const auto& p = run.parameters();
  const Tensor x = run.input("x"), gamma = run.input("gamma"), beta = run.input("beta");
  const Tensor mean = run.constant("running_mean"), var = run.constant("running_var");
  run.poison();
  const Tensor y =
      ops::batch_norm(x, gamma, beta, mean, var,
                      {p["train"].get<bool>(), p["momentum"].get<float>(), p["eps"].get<float>(), p["relu"].get<bool>()});
  if (p["train"].get<bool>()) {
    run.compare("running_mean_after", mean);
    run.compare("running_var_after", var);
  }
  // With two values a channel the normalised ones are nearly +-1 and dx is a difference of nearly equal numbers.
  const bool cancels = run.context().grad_enabled() && x.shape().count() / x.shape()[1] == 2;
  run.finish(y, cancels ? 1e-3 : tolerance);
}

void max_pool2d(Run& run) {
  const Tensor x = run.input("x");
  run.poison();
  run.finish(ops::max_pool2d(x, pair(run.parameters()["kernel"]), pair(run.parameters()["stride"])), 0.0);
}

void dropout(Run& run) {
  const auto& p = run.parameters();
  const std::vector<std::int32_t> step = {p["step"].get<std::int32_t>()};
  const Tensor counter = Tensor::from(run.context(), {1}, step), x = run.input("x");
  const auto reseed = [&] {
    run.context().seed(p["seed"].get<std::uint64_t>(), counter.ints());
    for (int i = 0; i < p["call"].get<int>(); ++i) run.context().next_random();
  };
  run.poison();
  reseed();
  run.compare("mask", ops::dropout_mask(run.context(), x.shape(), p["p"].get<float>()), 1e-7);
  reseed();
  run.finish(ops::dropout(x, p["p"].get<float>()), 1e-7);
  run.context().seed(0);
}

void concat(Run& run) {
  const std::vector<Tensor> parts = {run.input("a"), run.input("b"), run.input("c")};
  run.poison();
  run.finish(ops::concat(parts, run.parameters()["dim"].get<int>()), 0.0);
}

void matmul(Run& run) {
  const auto& p = run.parameters();
  const bool transpose_a = p["transpose_a"].get<bool>(), transpose_b = p["transpose_b"].get<bool>();
  const Tensor a = run.input("a"), b = run.input("b");
  if (!transpose_a) {
    run.poison();
    return run.finish(ops::matmul(a, b, transpose_b));
  }
  // The op has no transposed left side; its gradient uses that kernel, so the kernel is compared.
  const MatmulShape shape{a.shape()[1], transpose_b ? b.shape()[0] : b.shape()[1], a.shape()[0], true, transpose_b};
  const Tensor y = Tensor::full(run.context(), {shape.m, shape.n}, std::nanf(""));
  kernel<MatmulKernels>(run.context().device())
      .forward(run.context().stream(), shape, a.data(), b.data(), 0.0f, y.mutable_data());
  run.compare("y", y);
}

void cross_entropy(Run& run) {
  const Tensor logits = run.input("logits");
  run.poison();
  run.finish(ops::cross_entropy(logits, run.labels("labels")));
}

void distill_kl(Run& run) {
  const Tensor student = run.input("student"), teacher = run.input("teacher");
  run.poison();
  // log pT - log pS is a difference of rounded numbers: some bits are lost.
  run.finish(ops::distill_kl(student, teacher, run.parameters()["tau"].get<float>()), 2e-5);
}

void multitask_distill_loss(Run& run) {
  const auto& p = run.parameters();
  const bool taught = run.has("teacher1");
  const Tensor z1 = run.input("logits1"), z2 = run.input("logits2");
  run.poison();
  const auto [total, values] = ops::multitask_distill_loss(
      z1, z2, taught ? run.constant("teacher1") : Tensor(), taught ? run.constant("teacher2") : Tensor(), run.labels("labels1"),
      run.labels("labels2"), {p["alpha"].get<float>(), p["lambda"].get<float>(), p["tau"].get<float>()});
  run.compare("losses", values);
  run.finish(total);
}

template <class Op>
auto unary(Op op) {
  return [op](Run& run) {
    const Tensor x = run.input("x");
    run.poison();
    run.finish(op(x));
  };
}

template <class Op>
auto binary(Op op) {
  return [op](Run& run) {
    const Tensor a = run.input("a"), b = run.input("b");
    run.poison();
    run.finish(op(a, b));
  };
}

/// The op of a case `<op>.<variant>`.
std::map<std::string, std::function<void(Run&)>> table() {
  return {{"conv2d", conv2d},
          {"linear", linear},
          {"batch_norm", batch_norm},
          {"max_pool2d", max_pool2d},
          {"dropout", dropout},
          {"concat", concat},
          {"matmul", matmul},
          {"cross_entropy", cross_entropy},
          {"distill_kl", distill_kl},
          {"multitask_distill_loss", multitask_distill_loss},
          {"relu", unary(ops::relu)},
          {"exp", unary(ops::exp)},
          {"log", unary(ops::log)},
          {"tanh", unary(ops::tanh)},
          {"sigmoid", unary(ops::sigmoid)},
          {"sum", unary(ops::sum)},
          {"mean", unary(ops::mean)},
          {"l1_norm", unary(ops::l1_norm)},
          {"log_softmax", unary(ops::log_softmax)},
          {"l2_normalize", unary(ops::l2_normalize)},
          {"add", binary(ops::add)},
          {"sub", binary(ops::sub)},
          {"mul", binary(ops::mul)},
          {"scale", [](Run& run) { run.finish(ops::scale(run.input("x"), run.parameters()["alpha"].get<float>())); }}};
}

/// Every implementation name that any op has on the CPU.
std::vector<std::string> implementations() {
  register_kernels();
  std::vector<std::string> names;
  for (const ImplementationInfo& info : list_implementations())
    if (info.device == Device::cpu)
      for (const std::string& name : info.names)
        if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  return names;
}

TEST_CASE("every op agrees with PyTorch, forward and backward") {
  const SafetensorsFile file = golden::open("ops.safetensors");
  const auto ops = table();
  const std::string implementation = GENERATE(from_range(implementations()));
  const int threads = GENERATE(1, 2);
  CAPTURE(implementation, threads);
  golden::DefaultImplementations restore;
  use_implementation("*", Device::cpu, implementation);
  Context context(Device::cpu, threads);
  std::size_t done = 0;
  for (const std::string& name : golden::cases(file)) {
    const auto op = ops.find(name.substr(0, name.find('.')));
    INFO(name);
    REQUIRE(op != ops.end());
    const Case c(file, name);
    Run run(context, c);
    op->second(run);
    ++done;
  }
  CHECK(done >= 50);
}

TEST_CASE("the optimisers' kernels agree with PyTorch over ten steps") {
  const SafetensorsFile file = golden::open("optimizers.safetensors");
  const std::string implementation = GENERATE(from_range(implementations()));
  CAPTURE(implementation);
  golden::DefaultImplementations restore;
  use_implementation("*", Device::cpu, implementation);
  Context context(Device::cpu, 2);
  const auto& k = kernel<OptimizerKernels>(Device::cpu);
  const auto start = file.floats("start"), gradients = file.floats("gradients");
  const std::int64_t n = static_cast<std::int64_t>(start.size());
  for (const std::string& name : golden::cases(file)) {
    INFO(name);
    const Case c(file, name);
    const auto& hyper = c.parameters();
    const Tensor p = Tensor::from(context, {n}, start), m = Tensor::zeros(context, {n}), v = Tensor::zeros(context, {n});
    const Tensor teacher = p.clone(), step = Tensor::zeros(context, {1}, DType::i32), g = Tensor::empty(context, {n});
    const float decay = hyper.value("weight_decay", 0.0f), momentum = hyper.value("momentum", 0.0f);
    for (std::size_t t = 0; t < 10; ++t) {
      INFO("step " << t);
      g.copy_from_host(gradients.subspan(t * static_cast<std::size_t>(n), static_cast<std::size_t>(n)));
      if (name.starts_with("sgd"))
        k.sgd(context.stream(), n, {hyper["lr"].get<float>(), momentum, decay}, step.ints(), p.mutable_data(), g.data(),
              momentum != 0 ? m.mutable_data() : nullptr);
      else
        k.adam_ema(context.stream(), n,
                   {.lr = hyper["lr"].get<float>(),
                    .weight_decay = decay,
                    .decoupled = name == "adamw",
                    .ema = hyper.value("ema", 0.0f)},
                   step.ints(), p.mutable_data(), g.data(), m.mutable_data(), v.mutable_data(),
                   c.has("teacher") ? teacher.mutable_data() : nullptr);
      k.advance(context.stream(), step.mutable_ints());
      const auto row = [&](const std::string& array) {
        return c.floats(array).subspan(t * static_cast<std::size_t>(n), static_cast<std::size_t>(n));
      };
      CHECK(golden::absolute_error(p.to_vector(), row("after")) <= 2e-6);
      if (c.has("teacher")) CHECK(golden::absolute_error(teacher.to_vector(), row("teacher")) <= 2e-6);
    }
  }
}

}  // namespace
