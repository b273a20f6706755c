# Installs into a folder whose name has a blank and runs the installed program from elsewhere.
set(PREFIX "${BUILD}/install test")
file(REMOVE_RECURSE "${PREFIX}")
execute_process(COMMAND ${CMAKE_COMMAND} --install "${BUILD}" --prefix "${PREFIX}" OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
unset(ENV{CDISIM_PATH})
execute_process(COMMAND "${PREFIX}/bin/cdisim" edgent --json WORKING_DIRECTORY / OUTPUT_VARIABLE results
                COMMAND_ERROR_IS_FATAL ANY)
string(JSON policy GET "${results}" runs 0 policy)
# Every kind of file travels along, and none is taken from the source tree.
execute_process(COMMAND "${PREFIX}/bin/cdisim" list experiments --json WORKING_DIRECTORY / OUTPUT_VARIABLE experiments
                COMMAND_ERROR_IS_FATAL ANY)
string(JSON file GET "${experiments}" 0 file)
cmake_path(GET file PARENT_PATH folder)
if(NOT folder STREQUAL "${PREFIX}/share/cdisim/experiments")
  message(FATAL_ERROR "\"${file}\" is not the installed experiment")
endif()
execute_process(COMMAND "${PREFIX}/bin/cdisim" latency lenet raspberry_pi_4b --json WORKING_DIRECTORY /
                OUTPUT_VARIABLE latency COMMAND_ERROR_IS_FATAL ANY)
string(JSON seconds GET "${latency}" latency_s)
execute_process(COMMAND "${PREFIX}/bin/cdisim" platform --devices 2 WORKING_DIRECTORY / OUTPUT_QUIET
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${PREFIX}/bin/cdisim" validate "${PREFIX}/share/cdisim/platforms/measured_latency.csv"
                WORKING_DIRECTORY / OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE_RECURSE "${PREFIX}")
