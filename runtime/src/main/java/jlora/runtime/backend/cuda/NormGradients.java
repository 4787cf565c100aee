package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

/**
 * The backward pass of a norm. Frozen parameters need one launch; trained ones are summed by team
 * in the same launch, and a second one adds the teams up.
 */
record NormGradients(
        CudaKernels kernels, String op, NormRows rows, List<Optional<Grad>> parameters) {
    /**
     * @param inputs appends the arguments between the partial sums and the sizes
     */
    void run(Tensor dx, UnaryOperator<CudaKernels.Call> inputs) {
        if (dx.rows() == 0) {
            return;
        }
        if (parameters.stream().allMatch(Optional::isEmpty)) {
            CudaKernels.Call call = kernels.call(op + "_backward" + rows.suffix()).rows(dx);
            parameters.forEach(_ -> call.none());
            launch(inputs.apply(call), dx, rows.perRow(dx.rows()));
            return;
        }
        long rowBytes = dx.cols() * Float.BYTES;
        LaunchShape shape = rows.persistent(kernels, dx.rows(), rowBytes * parameters.size());
        long teams = rows.teams(shape);
        long partial = kernels.scratch(teams * rowBytes * parameters.size());
        CudaKernels.Call call = kernels.call(op + "_backward_weight" + rows.suffix()).rows(dx);
        for (int i = 0; i < parameters.size(); i++) {
            call.pointer(partial + i * teams * rowBytes);
        }
        launch(inputs.apply(call), dx, shape);
        for (int i = 0; i < parameters.size(); i++) {
            long sums = partial + i * teams * rowBytes;
            parameters.get(i).ifPresent(target -> finish(target, sums, teams));
        }
    }

    private void launch(CudaKernels.Call call, Tensor dx, LaunchShape shape) {
        call.i64(dx.rows()).i32(dx.cols()).i32(rows.team()).launch(shape);
    }

    private void finish(Grad target, long partial, long teams) {
        Tensor to = target.tensor();
        kernels.call(op + "_finish")
                .tensor(to)
                .pointer(partial)
                .i32(teams)
                .i32(to.cols())
                .flag(target.accumulate())
                .launch(NormRows.finish(to.cols()));
    }
}
