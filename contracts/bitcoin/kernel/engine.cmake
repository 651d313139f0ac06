# How Bitcoin Core's engine is compiled (.cargo/config.toml): its build asks for RelWithDebInfo, and nobody debugs it here.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O1" CACHE STRING "")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1" CACHE STRING "")
