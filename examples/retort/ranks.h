// The processes that mpirun started together: `mpirun -n 4 retort experiment …`. One of them, rank 0, says who does which run and
// does runs itself. Built with Open MPI or without (mpi/open_mpi.cpp, mpi/none.cpp); nothing else knows MPI.
#pragma once

#include "retort/distill/run_source.h"

#include <memory>
#include <string>

namespace retort::command {

class Ranks {
 public:
  /// Joins the others. Nothing when mpirun did not start this process. InputError when it did and the program was built without
  /// MPI. Call it once.
  static std::unique_ptr<Ranks> join();
  virtual ~Ranks() = default;

  virtual int rank() const = 0;
  virtual int on_this_machine() const = 0;  ///< how many of them

  /// The runs of the `plan`-th plan; every rank calls it for the same plans in the same order. On rank 0: `share`, its runs in
  /// their order, which it works on and lends from; its destructor waits until the others know that none is left. On the others:
  /// whatever rank 0 lends. `stop` must outlive the source.
  virtual std::unique_ptr<RunSource> source(int plan, std::unique_ptr<ShareSource> share, const std::atomic<bool>& stop) = 0;

  /// Parts with the others, who do the same. Not after a failure or an interrupt, when mpirun ends them all.
  virtual void leave() = 0;
};

/// "Open MPI 4.1.4" or "not built in", for `retort info`.
std::string mpi_version();

}  // namespace retort::command
