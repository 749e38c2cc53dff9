#include "retort/core/autograd.h"

#include "retort/kernels/elementwise.h"
#include "retort/kernels/registry.h"

#include <algorithm>

namespace retort {

using detail::TensorImpl;

const Tensor& Saved::get() const {
  check(tensor_.defined(), "backward: a saved tensor is missing");
  check(tensor_.version() == version_,
        "backward: {} was saved by an operation and changed in place since (version {}, now {}); change it after backward, or "
        "clone it",
        tensor_, version_, tensor_.version());
  return tensor_;
}

Node::Node(const char* name, Context& context, std::span<const Tensor> inputs)
    : name_(name), context_(context), number_(context.next_node()), inputs_(context.pool()) {
  inputs_.reserve(inputs.size());
  for (const Tensor& input : inputs) {
    Edge edge;
    if (input.defined()) {
      edge.shape = input.shape();
      if (input.impl()->creator)
        edge.producer = input.impl()->creator;
      else if (input.impl()->requires_grad)
        edge.leaf = input.impl();
    }
    inputs_.push_back(std::move(edge));
  }
}

// A long graph must not be destroyed by recursion, node inside node: the edges are collected in a list and emptied one by one.
Node::~Node() {
  std::pmr::vector<std::shared_ptr<Node>> pending(context_.pool());
  auto collect = [&](Node& node) {
    for (Edge& edge : node.inputs_)
      if (edge.producer) pending.push_back(std::move(edge.producer));
  };
  collect(*this);
  while (!pending.empty()) {
    const std::shared_ptr<Node> node = std::move(pending.back());
    pending.pop_back();
    if (node.use_count() == 1) collect(*node);
  }
}

bool Node::wants(int input) const {
  const Edge& edge = inputs_[static_cast<std::size_t>(input)];
  return edge.producer || edge.leaf;
}

std::shared_ptr<TensorImpl>& Node::slot(const Edge& edge) { return edge.producer ? edge.producer->gradient_ : edge.leaf->grad; }

namespace {

// Adding in place is allowed only to a gradient that nobody else looks at.
bool sole_owner(const std::shared_ptr<TensorImpl>& impl) { return impl.use_count() == 1 && impl->storage.use_count() == 1; }

void add_in_place(const Tensor& to, const Tensor& from) {
  kernel<ScaleKernels>(to.device()).forward(to.stream(), to.count(), 1.0f, from.data(), 1.0f, to.mutable_data());
}

}  // namespace

void Node::give(int input, Tensor gradient) {
  const Edge& edge = inputs_[static_cast<std::size_t>(input)];
  if (!edge.producer && !edge.leaf) return;
  check(gradient.shape() == edge.shape, "{}: gradient of input {} has shape {}, the input {}", name_, input, gradient.shape(),
        edge.shape);
  auto& slot = this->slot(edge);
  if (!slot) {
    // A leaf keeps its gradient: it must not be a view of something that lives on.
    slot = edge.leaf && !sole_owner(gradient.impl()) ? gradient.clone().impl() : gradient.impl();
  } else if (edge.leaf || sole_owner(slot)) {
    add_in_place(Tensor(slot), gradient);
  } else {
    const Tensor sum = Tensor(slot).clone();
    add_in_place(sum, gradient);
    slot = sum.impl();
  }
}

float* Node::accumulator(int input) {
  const Edge& edge = inputs_[static_cast<std::size_t>(input)];
  if (!edge.producer && !edge.leaf) return nullptr;
  auto& slot = this->slot(edge);
  if (!slot)
    slot = Tensor::zeros(context_, edge.shape).impl();
  else if (!edge.leaf && !sole_owner(slot))
    slot = Tensor(slot).clone().impl();
  return Tensor(slot).mutable_data();
}

Node::Place Node::place(int input) {
  const Edge& edge = inputs_[static_cast<std::size_t>(input)];
  if (!edge.producer && !edge.leaf) return {nullptr, 0};
  auto& slot = this->slot(edge);
  const bool first = !slot || slot->zero_pending;
  if (!slot) slot = Tensor::empty(context_, edge.shape).impl();
  slot->zero_pending = false;
  return {first ? Tensor(slot).mutable_data() : accumulator(input), first ? 0.0f : 1.0f};
}

/// One walk over the graph: a heap of the nodes whose gradient has begun to arrive, highest number first.
struct BackwardPass {
  explicit BackwardPass(Context& context) : queue(context.pool()) {}

  // After an exception no half-collected gradient may stay behind for the next pass.
  ~BackwardPass() {
    for (auto& node : queue) node->gradient_.reset(), node->queued_ = false;
  }

  static bool earlier(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) { return a->number_ < b->number_; }

  void push(const std::shared_ptr<Node>& node) {
    if (node->queued_) return;
    node->queued_ = true;
    queue.push_back(node);
    std::push_heap(queue.begin(), queue.end(), earlier);
  }

  void push_producers(const Node& node) {
    for (const Node::Edge& edge : node.inputs_)
      if (edge.producer && edge.producer->gradient_) push(edge.producer);
  }

  void run(bool retain_graph) {
    while (!queue.empty()) {
      std::pop_heap(queue.begin(), queue.end(), earlier);
      const std::shared_ptr<Node> node = std::move(queue.back());
      queue.pop_back();
      node->queued_ = false;
      const Tensor dy(std::move(node->gradient_));
      check(!node->freed_,
            "backward: the graph behind '{}' was freed by an earlier backward; pass retain_graph = true to that one",
            node->name_);
      try {
        node->vjp(dy);
      } catch (...) {
        push_producers(*node);
        throw;
      }
      push_producers(*node);
      if (!retain_graph) {
        node->release();
        node->freed_ = true;
      }
    }
  }

  static void start(const std::shared_ptr<Node>& node, const Tensor& gradient) { node->gradient_ = gradient.impl(); }

  std::pmr::vector<std::shared_ptr<Node>> queue;
};

namespace autograd {

bool needs_graph(std::span<const Tensor> inputs) {
  for (const Tensor& input : inputs)
    if (input.defined() && input.requires_grad()) return input.context().grad_enabled();
  return false;
}

void backward(const Tensor& root, const Tensor& gradient, bool retain_graph) {
  check(root.requires_grad(), "backward: {} does not depend on anything that requires gradients", root);
  check(root.impl()->creator != nullptr, "backward: {} is a leaf; there is nothing to differentiate", root);
  check(gradient.shape() == root.shape(), "backward: gradient of shape {} for a tensor of shape {}", gradient.shape(),
        root.shape());
  NoGrad no_grad(root.context());
  BackwardPass pass(root.context());
  pass.start(root.impl()->creator, gradient);
  pass.push(root.impl()->creator);
  pass.run(retain_graph);
}

}  // namespace autograd
}  // namespace retort
