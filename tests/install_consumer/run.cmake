# Installs the build into a scratch prefix, then configures, builds and runs the consumer against it.
#   cmake -DBUILD=<build dir> -DSOURCE=<this dir> -DWORK=<scratch> -DGENERATOR=... -DFLAGS=... -P run.cmake
file(REMOVE_RECURSE ${WORK})
foreach(step
    "${CMAKE_COMMAND};--install;${BUILD};--prefix;${WORK}/prefix"
    "${CMAKE_COMMAND};-G;${GENERATOR};-S;${SOURCE};-B;${WORK}/build;-DCMAKE_PREFIX_PATH=${WORK}/prefix;-DCMAKE_CXX_FLAGS=${FLAGS};-DCMAKE_BUILD_TYPE=Release"
    "${CMAKE_COMMAND};--build;${WORK}/build"
    "${WORK}/build/consumer")
  execute_process(COMMAND ${step} RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(failed)
    message(FATAL_ERROR "${step}\n${output}")
  endif()
endforeach()
message(STATUS "${output}")
