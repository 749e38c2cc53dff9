// A program built without MPI.
#include "retort/core/error.h"
#include "retort/examples/retort/ranks.h"

#include <cstdlib>

namespace retort::command {

std::unique_ptr<Ranks> Ranks::join() {
  check<InputError>(std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr,
                    "started by mpirun, but built without MPI: install libopenmpi-dev and openmpi-bin, then configure and build "
                    "again; or start it without mpirun, with --jobs N");
  return nullptr;
}

std::string mpi_version() { return "not built in (libopenmpi-dev was not found when it was configured)"; }

}  // namespace retort::command
