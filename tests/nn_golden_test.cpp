// Optimisers, the EMA teacher, the three model forms and twenty Smooth-Distill steps against PyTorch in float64.
//
// Weights and windows are numbers by formula (golden/hashed.py, golden.h), so the fixtures hold only results. What float32 can
// give is stated at each bound; `golden/make_golden.py --float32` prints what PyTorch's own float32 gives.
#include "catch.h"
#include "golden_smooth_distill.h"

#include "retort/nn/models/model.h"
#include "retort/nn/optim/optimizers.h"

#include <cmath>

namespace {

using namespace retort;

/// A module of one or more named vectors.
class Vectors final : public nn::Module {
 public:
  Tensor parameter(const std::string& name, const Tensor& t) { return add_parameter(name, t); }
  Tensor buffer(const std::string& name, const Tensor& t) { return add_buffer(name, t); }
};

TEST_CASE("the numbers by formula are those of the script, bit for bit") {
  const SafetensorsFile file = golden::open("model_mtl-net.safetensors");
  const golden::Windows all = golden::windows(12, 3, 8);
  CHECK(golden::absolute_error(std::span(all.x).first(300), file.floats("x.first_window")) == 0.0);
  CHECK(std::ranges::equal(all.task1, file.ints("task1")));
  CHECK(std::ranges::equal(all.task2, file.ints("task2")));
  for (const auto& [name, count, fan_in] : {std::tuple<std::string, int, int>{"conv1.weight", 32 * 27, 27},
                                            {"conv2.bias", 64, 288},
                                            {"bn1.weight", 32, 1},
                                            {"bn2.bias", 64, 1},
                                            {"fc1.weight", 1216 * 1024, 1216}}) {
    INFO(name);
    CHECK(golden::checksum_error(file, "weight.", name, golden::parameter(name, count, fan_in)).samples_absolute == 0.0);
  }
}

TEST_CASE("the optimisers agree with torch.optim over ten steps") {
  const SafetensorsFile file = golden::open("optimizers.safetensors");
  const auto start = file.floats("start"), gradients = file.floats("gradients");
  const auto n = static_cast<std::int64_t>(start.size());
  const auto row = [&](std::span<const float> rows, std::size_t t) { return rows.subspan(t * start.size(), start.size()); };
  for (const std::string& name : golden::cases(file)) {
    INFO(name);
    const golden::Case c(file, name);
    const auto& hyper = c.parameters();
    Context context(Device::cpu, 1);
    Vectors student, teacher;
    const Tensor p = student.parameter("p", Tensor::from(context, {n}, start));
    const Tensor t = teacher.parameter("p", Tensor::from(context, {n}, start));
    const nn::ParameterArena arena(context, student, true), teacher_arena(context, teacher, false);
    const float lr = hyper["lr"].get<float>(), decay = hyper.value("weight_decay", 0.0f);
    nn::Adam adam(context, arena,
                  {.lr = lr, .weight_decay = decay, .decoupled = name == "adamw", .ema = hyper.value("ema", 0.0f)});
    nn::Sgd sgd(context, arena, {lr, hyper.value("momentum", 0.0f), decay});
    for (std::size_t step = 0; step < 10; ++step) {
      INFO("step " << step);
      p.grad().copy_from_host(row(gradients, step));
      if (name.starts_with("sgd"))
        sgd.step();
      else
        adam.step(c.has("teacher") ? &teacher_arena : nullptr);
      CHECK(golden::absolute_error(p.to_vector(), row(c.floats("after"), step)) <= 2e-6);
      if (c.has("teacher")) CHECK(golden::absolute_error(t.to_vector(), row(c.floats("teacher"), step)) <= 2e-6);
    }
  }
}

TEST_CASE("the EMA teacher follows weights and running statistics") {
  const SafetensorsFile file = golden::open("ema.safetensors");
  const auto [how, name] = GENERATE(table<nn::EmaBuffers, std::string>(
      {{nn::EmaBuffers::average, std::string("average")}, {nn::EmaBuffers::copy, std::string("copy")}}));
  CAPTURE(name);
  Context context(Device::cpu, 1);
  const auto make = [&](Vectors& module) {
    module.parameter("weight", Tensor::full(context, {5}, 1.0f)), module.parameter("bias", Tensor::zeros(context, {5}));
    module.buffer("running_mean", Tensor::zeros(context, {5})), module.buffer("running_var", Tensor::full(context, {5}, 1.0f));
  };
  Vectors student, teacher;
  make(student), make(teacher);
  const nn::ParameterArena from(context, student, false), to(context, teacher, false);
  for (int step = 0; step < 5; ++step) {
    INFO("step " << step);
    for (const auto& [key, tensor] : student.state()) tensor.copy_from_host(file.floats(fmt::format("student.{}.{}", step, key)));
    ops::ema_(0.75f, from.parameters(), to.parameters());
    nn::ema_buffers(from, to, 0.75f, how);
    for (const auto& [key, tensor] : teacher.state()) {
      INFO(key);
      CHECK(golden::absolute_error(tensor.to_vector(), file.floats(fmt::format("{}.{}.{}", name, step, key))) <= 5e-7);
    }
  }
  const auto before = to.buffers().to_vector();
  nn::ema_buffers(from, to, 0.75f, nn::EmaBuffers::frozen);
  CHECK(to.buffers().to_vector() == before);
}

TEST_CASE("the three forms of MTL-net agree with PyTorch: outputs, gradients, running statistics") {
  const std::string form = GENERATE(as<std::string>(), "mtl-net", "mtl-net-paper", "mtl-net-released");
  const int threads = GENERATE(1, 2);
  CAPTURE(form, threads);
  const SafetensorsFile file = golden::open("model_" + form + ".safetensors");
  Context context(Device::cpu, threads);
  const auto model = nn::make_model(context, {.architecture = form});
  golden::fill_by_formula(*model);
  const nn::ParameterArena arena(context, *model, true);
  const golden::Batches b = golden::batch(context, golden::windows(12, 3, 8), 0, 8);

  const Tensor features = model->features(b.x);
  const auto [z1, z2] = model->heads(features);
  const auto [total, values] = ops::multitask_distill_loss(z1, z2, {}, {}, b.task1, b.task2, {});
  CHECK(golden::relative_error(features.to_vector(), file.floats("train.features")) <= 1e-5);
  CHECK(golden::relative_error(z1.to_vector(), file.floats("train.logits1")) <= 1e-5);
  CHECK(golden::relative_error(z2.to_vector(), file.floats("train.logits2")) <= 1e-5);
  CHECK(golden::relative_error(values.to_vector(), file.floats("train.losses")) <= 1e-5);
  arena.zero_gradients();
  total.backward();
  for (const auto& [name, tensor] : model->named_parameters()) {
    INFO("gradient of " << name);
    const std::vector<float> got = tensor.grad().to_vector();
    const auto e = golden::checksum_error(file, "grad.", name, got);
    // Batch norm takes the mean away again, so the gradient of a convolution's bias before it is zero but for rounding.
    if (form != "mtl-net-released" && name.starts_with("conv") && name.ends_with("bias")) {
      CHECK(golden::absolute_error(got, std::vector<float>(got.size())) <= 1e-7);
      continue;
    }
    CHECK(e.samples <= 1e-4);
    CHECK(e.norm <= 1e-4);
    CHECK(e.sum <= 1e-4);
  }
  for (const auto& [name, tensor] : model->named_buffers()) {
    INFO(name);
    CHECK(golden::relative_error(tensor.to_vector(), file.floats("after." + name)) <= 1e-5);
  }

  model->eval();
  const NoGrad guard(context);
  const Tensor eval_features = model->features(b.x);
  const auto [e1, e2] = model->heads(eval_features);
  CHECK(golden::relative_error(eval_features.to_vector(), file.floats("eval.features")) <= 1e-5);
  CHECK(golden::relative_error(e1.to_vector(), file.floats("eval.logits1")) <= 1e-5);
  CHECK(golden::relative_error(e2.to_vector(), file.floats("eval.logits2")) <= 1e-5);
}

TEST_CASE("twenty Smooth-Distill steps agree with PyTorch in double precision") {
  const std::string form = GENERATE(as<std::string>(), "mtl-net", "mtl-net-paper", "mtl-net-released");
  const std::string how = GENERATE(as<std::string>(), "average", "copy");
  CAPTURE(form, how);
  Context context(Device::cpu, 2);
  CHECK((golden::check_twenty_steps(context, form, how) || form == "mtl-net-released"));
}

TEST_CASE("two Smooth-Distill steps with the reference kernels are PyTorch's to the last digits") {
  const std::string form = GENERATE(as<std::string>(), "mtl-net", "mtl-net-paper", "mtl-net-released");
  CAPTURE(form);
  const SafetensorsFile file = golden::open("smooth_distill_" + form + ".safetensors");
  golden::DefaultImplementations restore;
  use_implementation("*", Device::cpu, "ref");
  Context context(Device::cpu, 2);
  const auto [student, teacher] = golden::make_pair(context, form);
  auto hyper = nlohmann::json::parse(file.metadata().at("hyper"));
  hyper["steps"] = 2;
  const auto losses = golden::smooth_distill(context, *student, *teacher, nn::EmaBuffers::average, hyper);
  CHECK(losses.size() == 2);
  golden::compare_losses(losses, file.floats("average.losses"), 1e-6, 1e-6);
}

TEST_CASE("what a loss does not reach has a gradient of zero, whatever the arena held before") {
  Context context;
  const auto model = nn::make_model(context, {.architecture = "mtl-net"});
  golden::fill_by_formula(*model);
  const nn::ParameterArena arena(context, *model, true);
  const golden::Batches b = golden::batch(context, golden::windows(12, 3, 8), 0, 8);
  const Tensor features = model->features(b.x);
  ops::cross_entropy(model->heads(features).task1, b.task1).backward();
  arena.zero_gradients();
  ops::cross_entropy(model->heads(features.detach()).task1, b.task1).backward();
  double all = 0, head = 0;
  for (const float g : arena.gradients().to_vector()) all += double(g) * g;
  for (const auto& [name, tensor] : model->named_parameters())
    if (name.starts_with("head1"))
      for (const float g : tensor.grad().to_vector()) head += double(g) * g;
  CHECK(head > 0);
  CHECK(all == Approx(head).epsilon(1e-12));
}

}  // namespace
