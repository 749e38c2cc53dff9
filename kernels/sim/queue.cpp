// Capture and replay on the host. A replay does the work of a forked branch as late as it may, just before the branch is waited
// for, while uncaptured work is done in the order of the calls: a branch that is not independent of the work beside it gives
// other numbers in the two, and tests that compare them notice.
#include "retort/kernels/sim/queue.h"

#include "retort/kernels/check.h"
#include "retort/kernels/sim/faults.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

namespace retort::sim {
namespace {

struct Work {
  enum class Kind { task, wait_for_branch };
  Kind kind = Kind::task;
  bool branch = false;  ///< of a queue beside the captured one
  std::function<void()> task;
};

class SimGraph final : public WorkGraph {
 public:
  explicit SimGraph(std::vector<Work> work) : work_(std::move(work)) {}

  std::size_t size() const override { return static_cast<std::size_t>(std::ranges::count(work_, Work::Kind::task, &Work::kind)); }

  void run() const {
    std::vector<const Work*> late;
    for (const Work& work : work_) {
      if (work.kind == Work::Kind::wait_for_branch) {
        for (const Work* task : late) task->task();
        late.clear();
      } else if (work.branch) {
        late.push_back(&work);
      } else {
        work.task();
      }
    }
  }

 private:
  std::vector<Work> work_;
};

class SimQueue final : public Queue {
 public:
  /// `main`: the queue that this one is beside; null for a queue that can be captured itself.
  explicit SimQueue(SimQueue* main = nullptr) : Queue(Device::cuda_sim), main_(main) {}

  void fill_zero(void* pointer, std::size_t bytes) override {
    give([=] { memory(Device::cuda_sim).fill_zero(pointer, bytes); });
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    give([=] { memory(Device::cuda_sim).copy(to, from, bytes); });
  }

  std::unique_ptr<Queue> beside() override { return std::make_unique<SimQueue>(main_ != nullptr ? main_ : this); }

  void wait_for(Queue& other) override {
    auto& queue = static_cast<SimQueue&>(other);
    if (main_ != nullptr) {
      forked_ = &queue == main_ && queue.capturing_;
    } else if (capturing_) {
      work_.push_back({Work::Kind::wait_for_branch, false, {}});
      queue.forked_ = false;
      open_branches_ = 0;
    }
  }

  bool can_capture() const override { return main_ == nullptr; }
  bool capturing() const override { return main_ != nullptr ? forked_ && main_->capturing_ : capturing_; }

  void begin_capture() override {
    check<DeviceError>(!capturing_, "cuda_sim: a capture within a capture");
    work_.clear();
    open_branches_ = 0;
    capturing_ = true;
  }

  std::unique_ptr<WorkGraph> end_capture() override {
    check<DeviceError>(open_branches_ == 0, "cuda_sim: the capture ends with {} tasks of a branch that nobody waits for",
                       open_branches_);
    capturing_ = false;
    return std::make_unique<SimGraph>(std::exchange(work_, {}));
  }

  void abandon_capture() noexcept override {
    capturing_ = false;
    work_.clear();
  }

  void launch(const WorkGraph& graph) override {
    expect_working("the launch of a graph");
    static_cast<const SimGraph&>(graph).run();
  }

  /// Runs the task, or keeps it.
  void give(std::function<void()> task) {
    if (!capturing()) {
      task();
      return;
    }
    SimQueue& queue = main_ != nullptr ? *main_ : *this;
    if (main_ != nullptr) ++queue.open_branches_;
    queue.work_.push_back({Work::Kind::task, main_ != nullptr, std::move(task)});
  }

 private:
  SimQueue* main_;
  bool capturing_ = false;         // of a main queue
  bool forked_ = false;            // of a queue beside it: has waited for the main one since the capture began
  std::size_t open_branches_ = 0;  // tasks of branches since the last wait for one
  std::vector<Work> work_;
};

}  // namespace

std::unique_ptr<Queue> make_queue() { return std::make_unique<SimQueue>(); }

bool is_captured(const Queue& queue) { return queue.capturing(); }

void keep(Queue& queue, ThreadTeam& team, const Launch& launch, std::shared_ptr<const void> arguments) {
  static_cast<SimQueue&>(queue).give([&team, launch, arguments = std::move(arguments)] { run(team, launch); });
}

}  // namespace retort::sim
