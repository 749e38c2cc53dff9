// Reverse-mode automatic differentiation.
//
// An operation that meets a tensor which requires gradients records a Node: which tensors went in, and a function that turns the
// gradient of its output into gradients of its inputs (a vector-Jacobian product), with the tensors that function needs. Nodes
// are numbered as they are made. `backward` starts at the loss and always takes the highest number not yet done: every operation
// that used a tensor has a higher number than the one that made it, so when a node's turn comes its gradient is complete. No
// recursion.
#pragma once

#include "retort/core/tensor.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <memory_resource>
#include <optional>
#include <vector>

namespace retort {

/// A tensor that backward needs, with the version it had. Kept outside the graph, so that an operation may save its own output
/// without keeping itself alive.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& tensor) : tensor_(tensor.detach()), version_(tensor.version()) {}

  /// Throws when the data were changed in place since.
  const Tensor& get() const;

 private:
  Tensor tensor_;
  std::uint32_t version_ = 0;
};

class Node {
 public:
  Node(const char* name, Context& context, std::span<const Tensor> inputs);
  virtual ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// What a vector-Jacobian product calls, input by input.
  bool wants(int input) const;            ///< is a gradient of this input asked for?
  void give(int input, Tensor gradient);  ///< here it is, in a tensor of its own (or one that is not written again)
  float* accumulator(int input);          ///< or: where to add it (+=), for kernels that accumulate; null when not wanted
  /// Or: where to write beta * what is there + gradient, for kernels with a beta; 0 where nothing has arrived yet.
  struct Place {
    float* data;  ///< null when not wanted
    float beta;   ///< 0 or 1
  };
  Place place(int input);

 protected:
  virtual void vjp(const Tensor& dy) = 0;
  virtual void release() = 0;  ///< forget the saved tensors

 private:
  friend struct BackwardPass;
  /// Where the gradient of an input goes: the node that made it, or the leaf itself, or nowhere.
  struct Edge {
    std::shared_ptr<Node> producer;
    std::shared_ptr<detail::TensorImpl> leaf;
    Shape shape;
  };
  std::shared_ptr<detail::TensorImpl>& slot(const Edge& edge);

  const char* name_;
  Context& context_;
  std::uint64_t number_;
  std::pmr::vector<Edge> inputs_;
  std::shared_ptr<detail::TensorImpl> gradient_;  ///< of the output, growing while consumers are done
  bool queued_ = false, freed_ = false;
};

namespace autograd {

/// Whether an operation on these inputs has to be recorded.
bool needs_graph(std::span<const Tensor> inputs);

/// Makes `output` the result of a node with the given vector-Jacobian product: a callable (const Tensor& dy, Node& node) that
/// gives node the gradients it wants. Does nothing when no gradient can be asked for. Tensors are captured as Saved.
template <class Vjp>
void record(const char* name, const Tensor& output, std::initializer_list<Tensor> inputs, Vjp vjp);
template <class Vjp>
void record(const char* name, const Tensor& output, std::span<const Tensor> inputs, Vjp vjp);

/// Runs the vector-Jacobian products from `root` to all leaves. Tensor::backward is the usual way in.
void backward(const Tensor& root, const Tensor& gradient, bool retain_graph);

}  // namespace autograd

// ---- implementation of the templates ----

namespace detail {

template <class Vjp>
class VjpNode final : public Node {
 public:
  VjpNode(const char* name, Context& context, std::span<const Tensor> inputs, Vjp&& vjp)
      : Node(name, context, inputs), vjp_(std::move(vjp)) {}

 private:
  void vjp(const Tensor& dy) override { (*vjp_)(dy, *this); }
  void release() override { vjp_.reset(); }

  std::optional<Vjp> vjp_;
};

}  // namespace detail

namespace autograd {

template <class Vjp>
void record(const char* name, const Tensor& output, std::span<const Tensor> inputs, Vjp vjp) {
  if (!needs_graph(inputs)) return;
  Context& context = output.context();
  std::pmr::polymorphic_allocator<detail::VjpNode<Vjp>> allocator(context.pool());
  output.impl()->creator = std::allocate_shared<detail::VjpNode<Vjp>>(allocator, name, context, inputs, std::move(vjp));
}

template <class Vjp>
void record(const char* name, const Tensor& output, std::initializer_list<Tensor> inputs, Vjp vjp) {
  record(name, output, std::span<const Tensor>(inputs.begin(), inputs.size()), std::move(vjp));
}

}  // namespace autograd
}  // namespace retort
