// Optimisers, the EMA teacher, the three model forms and twenty Smooth-Distill steps against PyTorch in float64.
//
// Weights and windows are numbers by formula (golden/hashed.py, golden.h), so the fixtures hold only results. What float32 can
// give is stated at each bound; `golden/make_golden.py --float32` prints what PyTorch's own float32 gives.
#include "catch.h"
#include "golden.h"

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

/// Weights by formula into a model whose tensors are named as PyTorch names them.
void fill_by_formula(const nn::Module& model) {
  std::map<std::string, std::int64_t> fan_in;
  for (const auto& [name, tensor] : model.named_parameters())
    if (name.ends_with(".weight")) fan_in[name.substr(0, name.find('.'))] = tensor.count() / tensor.shape()[0];
  for (const auto& [name, tensor] : model.state())
    tensor.copy_from_host(
        std::span<const float>(golden::parameter(name, tensor.count(), fan_in.at(name.substr(0, name.find('.'))))));
}

struct Batches {
  Tensor x, task1, task2;
};

Batches batch(Context& context, const golden::Windows& all, std::size_t begin, std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  return {Tensor::from(context, {size, 1, 3, 100}, std::span(all.x).subspan(begin * 300, n * 300)),
          Tensor::from(context, {size}, std::span(all.task1).subspan(begin, n)),
          Tensor::from(context, {size}, std::span(all.task2).subspan(begin, n))};
}

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
  fill_by_formula(*model);
  const nn::ParameterArena arena(context, *model, true);
  const Batches b = batch(context, golden::windows(12, 3, 8), 0, 8);

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

/// Twenty steps of the method, written out with the engine's parts; the losses of each step.
std::vector<std::vector<float>> smooth_distill(Context& context, nn::TwoTaskModel& student, nn::TwoTaskModel& teacher,
                                               nn::EmaBuffers buffers, const nlohmann::json& hyper) {
  const std::int64_t size = hyper["batch"].get<std::int64_t>(), count = hyper["windows"].get<std::int64_t>();
  const float beta = hyper["beta"].get<float>();
  const golden::Windows all = golden::windows(12, 3, count);
  const nn::ParameterArena arena(context, student, true), teacher_arena(context, teacher, false);
  nn::Adam adam(context, arena, {.lr = hyper["lr"].get<float>(), .ema = beta});
  std::vector<std::vector<float>> losses;
  for (std::int64_t step = 0; step < hyper["steps"].get<std::int64_t>(); ++step) {
    const Batches b = batch(context, all, static_cast<std::size_t>(step * size % count), size);
    nn::Logits soft;
    {
      const NoGrad guard(context);
      soft = teacher.forward(b.x);
    }
    const nn::Logits z = student.forward(b.x);
    const auto loss =
        ops::multitask_distill_loss(z.task1, z.task2, soft.task1, soft.task2, b.task1, b.task2,
                                    {hyper["alpha"].get<float>(), hyper["lambda"].get<float>(), hyper["tau"].get<float>()});
    arena.zero_gradients();
    loss.total.backward();
    adam.step(&teacher_arena);
    nn::ema_buffers(arena, teacher_arena, beta, buffers);
    losses.push_back(loss.values.to_vector());
  }
  return losses;
}

/// Losses of the first `steps` steps against the fixture: relative within `early` for five steps and `late` after.
void compare_losses(const std::vector<std::vector<float>>& losses, std::span<const float> want, double early, double late) {
  const std::string columns[] = {"total", "ce1", "ce2", "kl1", "kl2"};
  for (std::size_t step = 0; step < losses.size(); ++step)
    for (std::size_t i = 0; i < std::size(columns); ++i) {
      INFO("step " << step + 1 << " " << columns[i]);
      const double expected = want[step * 5 + i];
      // Teacher and student agree at first, so KL begins as a difference of nearly equal numbers: 1e-6 is rounding.
      CHECK(std::abs(losses[step][i] - expected) <= (step < 5 ? early : late) * std::abs(expected) + 1e-6);
    }
}

/// What float32 lets us ask of a tensor of the teacher or the student after twenty steps.
void compare_state(const SafetensorsFile& file, const std::string& how, const std::string& who, const nn::Module& model,
                   bool has_norm) {
  for (const auto& [name, tensor] : model.state()) {
    INFO(who << " " << name);
    const auto e = golden::checksum_error(file, how + "." + who + ".", name, tensor.to_vector());
    const bool statistic = name.find("running") != std::string::npos;
    const bool averaged = who == "teacher" && (how == "average" || !statistic);
    // A convolution's bias in front of batch norm has a zero gradient, and Adam makes steps of up to lr of its rounding error;
    // they move nothing but the running mean behind, by as much. PyTorch's own float32 is off by 6e-3 there in the student.
    const bool idle = has_norm && ((name.starts_with("conv") && name.ends_with("bias")) || name.ends_with("running_mean"));
    if (averaged) {
      CHECK(e.samples_absolute <= 1e-4);
      if (!idle) CHECK(e.norm <= 1e-4);
    } else if (idle) {
      CHECK(e.samples_absolute <= 2.1e-2);  // twenty steps of lr
    } else {
      // One ReLU or pooling winner that rounding decides the other way moves single weights by some percent of lr * steps.
      CHECK(e.samples <= 3e-2);
      CHECK(e.norm <= 3e-3);
    }
  }
}

struct Pair {
  std::unique_ptr<nn::TwoTaskModel> student, teacher;
};

Pair make_pair(Context& context, const std::string& form) {
  Pair made{nn::make_model(context, {.architecture = form}), nn::make_model(context, {.architecture = form})};
  fill_by_formula(*made.student);
  fill_by_formula(*made.teacher);
  made.teacher->eval();
  return made;
}

TEST_CASE("twenty Smooth-Distill steps agree with PyTorch in double precision") {
  const std::string form = GENERATE(as<std::string>(), "mtl-net", "mtl-net-paper", "mtl-net-released");
  const std::string how = GENERATE(as<std::string>(), "average", "copy");
  const SafetensorsFile file = golden::open("smooth_distill_" + form + ".safetensors");
  if (!file.contains(how + ".losses")) return;  // without batch norm there is nothing to copy
  CAPTURE(form, how);
  Context context(Device::cpu, 2);
  const auto [student, teacher] = make_pair(context, form);
  const auto losses =
      smooth_distill(context, *student, *teacher, how == "average" ? nn::EmaBuffers::average : nn::EmaBuffers::copy,
                     nlohmann::json::parse(file.metadata().at("hyper")));
  CHECK(losses.size() == 20);
  compare_losses(losses, file.floats(how + ".losses"), 5e-4, 1e-2);
  compare_state(file, how, "teacher", *teacher, form != "mtl-net-released");
  compare_state(file, how, "student", *student, form != "mtl-net-released");
}

TEST_CASE("two Smooth-Distill steps with the reference kernels are PyTorch's to the last digits") {
  const std::string form = GENERATE(as<std::string>(), "mtl-net", "mtl-net-paper", "mtl-net-released");
  CAPTURE(form);
  const SafetensorsFile file = golden::open("smooth_distill_" + form + ".safetensors");
  golden::DefaultImplementations restore;
  use_implementation("*", Device::cpu, "ref");
  Context context(Device::cpu, 2);
  const auto [student, teacher] = make_pair(context, form);
  auto hyper = nlohmann::json::parse(file.metadata().at("hyper"));
  hyper["steps"] = 2;
  const auto losses = smooth_distill(context, *student, *teacher, nn::EmaBuffers::average, hyper);
  CHECK(losses.size() == 2);
  compare_losses(losses, file.floats("average.losses"), 1e-6, 1e-6);
}

}  // namespace
