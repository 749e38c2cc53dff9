#include "retort/nn/module.h"

namespace retort::nn {

void Module::visit(const std::string& prefix, const std::function<void(const std::string&, const Tensor&, Kind)>& see) const {
  for (const auto& own : own_) see(prefix + own.name, own.tensor, own.kind);
  for (const Child& child : children_) child.module->visit(prefix + child.name + ".", see);
}

std::vector<NamedTensor> Module::named_parameters() const {
  std::vector<NamedTensor> found;
  visit("", [&](const std::string& name, const Tensor& tensor, Kind kind) {
    if (kind == Kind::parameter) found.push_back({name, tensor});
  });
  return found;
}

std::vector<NamedTensor> Module::named_buffers() const {
  std::vector<NamedTensor> found;
  visit("", [&](const std::string& name, const Tensor& tensor, Kind kind) {
    if (kind == Kind::buffer) found.push_back({name, tensor});
  });
  return found;
}

std::vector<NamedTensor> Module::state() const {
  std::vector<NamedTensor> found;
  visit("", [&](const std::string& name, const Tensor& tensor, Kind) { found.push_back({name, tensor}); });
  return found;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& parameter : named_parameters()) count += parameter.tensor.count();
  return count;
}

void Module::train(bool training) {
  training_ = training;
  for (const Child& child : children_) child.module->train(training);
}

void Module::save(const std::filesystem::path& path, const Metadata& metadata) const {
  const auto tensors = state();
  std::vector<std::vector<float>> values;
  std::vector<NamedArray> arrays;
  values.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    values.push_back(tensor.to_vector());
    arrays.push_back(named_array(name, tensor.shape(), std::span<const float>(values.back())));
  }
  write_safetensors(path, arrays, metadata);
}

void Module::load(const SafetensorsFile& file, const std::string& prefix) {
  const auto tensors = state();
  for (const auto& [name, tensor] : tensors) {
    const std::string in_file = prefix + name;
    check<InputError>(file.contains(in_file), "{}: has no tensor '{}'; these weights are of another model", file.path().string(), in_file);
    check<InputError>(file.shape(in_file) == tensor.shape(), "{}: '{}' has shape {}, the model {}", file.path().string(), in_file,
                      file.shape(in_file).str(), tensor.shape());
    file.floats(in_file);  // of the right type, before anything is changed
  }
  for (const auto& [name, tensor] : tensors) tensor.copy_from_host(file.floats(prefix + name));
}

void Module::copy_from(const Module& other) {
  const auto to = state(), from = other.state();
  check(to.size() == from.size(), "copy_from: {} tensors into a module with {}", from.size(), to.size());
  for (std::size_t i = 0; i < to.size(); ++i) {
    check(to[i].name == from[i].name, "copy_from: '{}' into '{}'", from[i].name, to[i].name);
    to[i].tensor.copy_from(from[i].tensor);
  }
}

Tensor Module::add_parameter(std::string name, Tensor tensor) {
  tensor.set_requires_grad();
  own_.push_back({std::move(name), tensor, Kind::parameter});
  return tensor;
}

Tensor Module::add_buffer(std::string name, Tensor tensor) {
  own_.push_back({std::move(name), tensor, Kind::buffer});
  return tensor;
}

void Module::add_module(std::string name, Module& child) { children_.push_back({std::move(name), &child}); }

Tensor uniform_parameter(Context& context, const Shape& shape, float bound, Random& random) {
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  for (float& value : values) value = static_cast<float>(random.uniform(-bound, bound));
  return Tensor::from(context, shape, values);
}

}  // namespace retort::nn
