// Work that may run beside the work that follows it, on devices with more than one queue:
//
//   Branch branch(context);                                        // starts after all that was given to the context so far
//   Tensor t = branch.run([&] { return teacher.forward(x); });
//   Tensor s = student.forward(x);                                 // at the same time
//   branch.join();                                                 // from here on t may be used
//
// In a captured step the two are parallel branches of the graph. On the CPU everything is done in the order of the calls. A
// branch in a branch is part of it.
#pragma once

#include "retort/core/context.h"

#include <utility>

namespace retort {

class Branch {
 public:
  explicit Branch(Context& context) : context_(context), side_(context.side_lane()) {
    if (side_) side_->stream.wait_for(context.stream());
  }
  ~Branch() {
    try {
      join();
    } catch (const DeviceError&) {  // the device has failed; whoever waits for it next will hear the same
    }
  }
  Branch(const Branch&) = delete;
  Branch& operator=(const Branch&) = delete;

  /// Whether its work may run at the same time as what follows.
  bool parallel() const { return side_ != nullptr; }

  template <class Work>
  auto run(Work&& work) {
    const LaneScope scope(context_, side_ ? *side_ : context_.lane());
    return std::forward<Work>(work)();
  }

  void join() {
    if (Lane* side = std::exchange(side_, nullptr)) context_.stream().wait_for(side->stream);
  }

 private:
  Context& context_;
  Lane* side_;  ///< null: nothing to join
};

}  // namespace retort
