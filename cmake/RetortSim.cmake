# Decides whether the kernel simulator (kernels/sim, device cuda_sim) is built: it is, unless Boost.Context is missing.
option(RETORT_SIM "Build the kernel simulator: the .cu files run on the host as device cuda_sim" ON)
if(RETORT_SIM)
  find_package(Boost 1.74 QUIET COMPONENTS context)
  if(NOT TARGET Boost::context)
    message(STATUS "Kernel simulator: off, Boost.Context was not found (Debian: libboost-context-dev)")
    set(RETORT_SIM OFF)
  endif()
endif()
