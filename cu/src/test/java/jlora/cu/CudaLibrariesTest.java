package jlora.cu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Which folders are looked in, in which order, and what is said of a library that is not there. */
class CudaLibrariesTest {
    private static final int DRIVER_12_8 = 12_080;
    private static final int DRIVER_13 = 13_000;

    @TempDir private Path temp;

    @Test
    void namedFoldersComeFirstAndInOrder() {
        LibraryFolders folders =
                LibraryFolders.of(
                        Map.of(
                                "JLORA_LIBRARY_PATH", "/a" + File.pathSeparator + "/b",
                                "LD_LIBRARY_PATH", File.pathSeparator + "/c"));
        assertEquals(List.of(Path.of("/a"), Path.of("/b"), Path.of("/c")), folders.named());
        assertTrue(folders.usual().contains(Path.of("/usr/local/cuda/lib64")));
    }

    @Test
    void aFolderOfPythonPackagesBringsItsLibraries() throws IOException {
        Path packages = temp.resolve("site-packages");
        Path cublas = Files.createDirectories(packages.resolve("nvidia/cu13/lib"));
        Path cudnn = Files.createDirectories(packages.resolve("nvidia/cudnn/lib"));
        Files.createDirectories(packages.resolve("nvidia/headers_only/include"));
        List<Path> named =
                LibraryFolders.of(Map.of("JLORA_LIBRARY_PATH", packages.toString())).named();
        assertEquals(List.of(packages, cudnn, cublas), named);
    }

    @Test
    void librariesOfAPythonEnvironmentAreFound() throws IOException {
        Path lib =
                Files.createDirectories(
                        temp.resolve("venv/lib/python3.12/site-packages/nvidia/cudnn/lib"));
        Path toolkit = temp.resolve("cuda-12.9");
        List<Path> usual =
                LibraryFolders.of(
                                Map.of(
                                        "VIRTUAL_ENV", temp.resolve("venv").toString(),
                                        "CUDA_HOME", toolkit.toString()))
                        .usual();
        assertEquals(toolkit.resolve("lib64"), usual.getFirst());
        assertTrue(usual.contains(lib));
    }

    @Test
    void oneFolderIsAllThatIsAsked() {
        CudaLibraries none = CudaLibraries.in(temp);
        MissingLibraryException missing = assertThrows(MissingLibraryException.class, none::driver);
        assertTrue(missing.getMessage().startsWith("libcuda.so.1 was not found: "));
        assertTrue(missing.getMessage().contains("--gpus all"), missing.getMessage());
    }

    @Test
    void aDriverOfCuda12CannotUseLibrariesOf13() {
        CudaLibraries none = CudaLibraries.in(temp);
        String forOld =
                assertThrows(MissingLibraryException.class, () -> none.cublasLt(DRIVER_12_8))
                        .getMessage();
        assertTrue(forOld.startsWith("libcublasLt.so.12 was not found"), forOld);
        assertFalse(forOld.contains("update the driver"), forOld);
        String forNew =
                assertThrows(MissingLibraryException.class, () -> none.cublasLt(DRIVER_13))
                        .getMessage();
        assertTrue(forNew.startsWith("libcublasLt.so.13 or libcublasLt.so.12 was"), forNew);
    }

    @Test
    void aDamagedLibraryIsNotSkippedInSilence() throws IOException {
        Files.writeString(temp.resolve("libcudnn.so.9"), "not a library");
        String sentence =
                assertThrows(MissingLibraryException.class, CudaLibraries.in(temp)::cudnn)
                        .getMessage();
        assertTrue(sentence.startsWith(temp.resolve("libcudnn.so.9") + " cannot be opened"));
    }
}
