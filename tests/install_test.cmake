# Installs into a folder whose name has a blank and runs the installed program from elsewhere.
set(PREFIX "${BUILD}/install test")
file(REMOVE_RECURSE "${PREFIX}")
execute_process(COMMAND ${CMAKE_COMMAND} --install "${BUILD}" --prefix "${PREFIX}" OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
unset(ENV{CDISIM_PATH})
execute_process(COMMAND "${PREFIX}/bin/cdisim" edgent --json WORKING_DIRECTORY / OUTPUT_VARIABLE results
                COMMAND_ERROR_IS_FATAL ANY)
string(JSON policy GET "${results}" runs 0 policy)
execute_process(COMMAND "${PREFIX}/bin/cdisim" list platforms --json WORKING_DIRECTORY / OUTPUT_VARIABLE platforms
                COMMAND_ERROR_IS_FATAL ANY)
string(JSON file GET "${platforms}" 0 file)
if(NOT file STREQUAL "${PREFIX}/share/cdisim/platforms/pi3_lan_desktop.xml")
  message(FATAL_ERROR "\"${file}\" is not the installed platform")
endif()
file(REMOVE_RECURSE "${PREFIX}")
