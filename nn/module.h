// Module: named parameters and buffers, as torch.nn.Module has them, so that a state dictionary means the same in both.
#pragma once

#include "retort/core/ops.h"
#include "retort/core/random.h"
#include "retort/core/safetensors.h"

#include <functional>
#include <string>
#include <vector>

namespace retort::nn {

struct NamedTensor {
  std::string name;  ///< "conv1.weight"
  Tensor tensor;
};

/// Base of layers and models. A subclass registers its tensors and children in its constructor, in the order in which PyTorch would
/// list them; children are members, so modules are neither copied nor moved.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// In PyTorch's order: own tensors, then the children's, depth first.
  std::vector<NamedTensor> named_parameters() const;
  std::vector<NamedTensor> named_buffers() const;
  /// Parameters and buffers together: PyTorch's state_dict.
  std::vector<NamedTensor> state() const;
  std::int64_t parameter_count() const;

  /// Training or evaluation, for this module and all its children.
  void train(bool training = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  /// Writes the state to a safetensors file, atomically.
  void save(const std::filesystem::path& path, const Metadata& metadata = {}) const;
  /// Reads it back; throws InputError naming the file and the first tensor that is missing or has another shape. Names are read
  /// with `prefix` in front; names in the file that this module does not have are left alone.
  void load(const SafetensorsFile& file, const std::string& prefix = {});
  /// Copies all values from a module of the same form.
  void copy_from(const Module& other);

 protected:
  /// Both give the handle back, to be kept as a member.
  Tensor add_parameter(std::string name, Tensor tensor);
  Tensor add_buffer(std::string name, Tensor tensor);
  void add_module(std::string name, Module& child);

 private:
  struct Child {
    std::string name;
    Module* module;
  };
  enum class Kind { parameter, buffer };
  void visit(const std::string& prefix, const std::function<void(const std::string&, const Tensor&, Kind)>& see) const;

  struct Own {
    std::string name;
    Tensor tensor;
    Kind kind;
  };
  std::vector<Own> own_;
  std::vector<Child> children_;
  bool training_ = true;
};

/// A leaf filled with uniform numbers in ±bound: PyTorch's default for weights and biases is bound = 1/sqrt(fan_in)
/// (kaiming_uniform with a = sqrt 5).
Tensor uniform_parameter(Context& context, const Shape& shape, float bound, Random& random);

}  // namespace retort::nn
