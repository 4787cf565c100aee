package jlora.cu.sys;

/** Values of {@code cudnn_graph.h} that jlora uses, by the header's names. */
public final class CudnnConstants {
    private CudnnConstants() {}

    public static final int CUDNN_STATUS_SUCCESS = 0;
    public static final int CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED = 4004;
    public static final int CUDNN_STATUS_EXECUTION_FAILED = 5000;

    public static final int CUDNN_DATA_FLOAT = 0;
    public static final int CUDNN_DATA_INT32 = 4;
    public static final int CUDNN_DATA_BFLOAT16 = 9;
    public static final int CUDNN_DATA_INT64 = 10;
    public static final int CUDNN_DATA_BOOLEAN = 11;

    public static final int CUDNN_TYPE_HANDLE = 0;
    public static final int CUDNN_TYPE_DATA_TYPE = 1;
    public static final int CUDNN_TYPE_BOOLEAN = 2;
    public static final int CUDNN_TYPE_INT64 = 3;
    public static final int CUDNN_TYPE_VOID_PTR = 6;
    public static final int CUDNN_TYPE_HEUR_MODE = 8;
    public static final int CUDNN_TYPE_KNOB_TYPE = 9;
    public static final int CUDNN_TYPE_POINTWISE_MODE = 14;
    public static final int CUDNN_TYPE_BACKEND_DESCRIPTOR = 15;
    public static final int CUDNN_TYPE_REDUCTION_OPERATOR_TYPE = 18;
    public static final int CUDNN_TYPE_CHAR = 24;

    public static final int CUDNN_BACKEND_POINTWISE_DESCRIPTOR = 0;
    public static final int CUDNN_BACKEND_ENGINE_DESCRIPTOR = 2;
    public static final int CUDNN_BACKEND_ENGINECFG_DESCRIPTOR = 3;
    public static final int CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR = 4;
    public static final int CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR = 5;
    public static final int CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR = 7;
    public static final int CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR = 13;
    public static final int CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR = 15;
    public static final int CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR = 16;
    public static final int CUDNN_BACKEND_TENSOR_DESCRIPTOR = 17;
    public static final int CUDNN_BACKEND_MATMUL_DESCRIPTOR = 18;
    public static final int CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR = 19;
    public static final int CUDNN_BACKEND_REDUCTION_DESCRIPTOR = 21;
    public static final int CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR = 22;
    public static final int CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR = 31;
    public static final int CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR = 38;

    public static final int CUDNN_ATTR_POINTWISE_MODE = 0;
    public static final int CUDNN_ATTR_POINTWISE_MATH_PREC = 1;
    public static final int CUDNN_ATTR_POINTWISE_AXIS = 9;
    public static final int CUDNN_ATTR_ENGINEHEUR_MODE = 200;
    public static final int CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH = 201;
    public static final int CUDNN_ATTR_ENGINEHEUR_RESULTS = 202;
    public static final int CUDNN_ATTR_ENGINEHEUR_DEVICEPROP = 204;
    public static final int CUDNN_ATTR_ENGINECFG_ENGINE = 300;
    public static final int CUDNN_ATTR_ENGINECFG_KNOB_CHOICES = 302;
    public static final int CUDNN_ATTR_EXECUTION_PLAN_HANDLE = 400;
    public static final int CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG = 401;
    public static final int CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE = 402;
    public static final int CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION = 405;
    public static final int CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP = 407;
    public static final int CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE = 600;
    public static final int CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE = 601;
    public static final int CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR = 750;
    public static final int CUDNN_ATTR_OPERATION_POINTWISE_XDESC = 751;
    public static final int CUDNN_ATTR_OPERATION_POINTWISE_BDESC = 752;
    public static final int CUDNN_ATTR_OPERATION_POINTWISE_YDESC = 753;
    public static final int CUDNN_ATTR_OPERATION_POINTWISE_TDESC = 758;
    public static final int CUDNN_ATTR_OPERATIONGRAPH_HANDLE = 800;
    public static final int CUDNN_ATTR_OPERATIONGRAPH_OPS = 801;
    public static final int CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT = 900;
    public static final int CUDNN_ATTR_TENSOR_DATA_TYPE = 901;
    public static final int CUDNN_ATTR_TENSOR_DIMENSIONS = 902;
    public static final int CUDNN_ATTR_TENSOR_STRIDES = 903;
    public static final int CUDNN_ATTR_TENSOR_UNIQUE_ID = 906;
    public static final int CUDNN_ATTR_TENSOR_IS_VIRTUAL = 907;
    public static final int CUDNN_ATTR_TENSOR_IS_BY_VALUE = 908;
    public static final int CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC = 913;
    public static final int CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS = 1000;
    public static final int CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS = 1001;
    public static final int CUDNN_ATTR_VARIANT_PACK_WORKSPACE = 1003;
    public static final int CUDNN_ATTR_ENGINE_OPERATION_GRAPH = 1300;
    public static final int CUDNN_ATTR_ENGINE_GLOBAL_INDEX = 1301;
    public static final int CUDNN_ATTR_ENGINE_DEVICEPROP = 1307;
    public static final int CUDNN_ATTR_MATMUL_COMP_TYPE = 1500;
    public static final int CUDNN_ATTR_OPERATION_MATMUL_ADESC = 1520;
    public static final int CUDNN_ATTR_OPERATION_MATMUL_BDESC = 1521;
    public static final int CUDNN_ATTR_OPERATION_MATMUL_CDESC = 1522;
    public static final int CUDNN_ATTR_OPERATION_MATMUL_DESC = 1523;
    public static final int CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC = 1525;
    public static final int CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC = 1526;
    public static final int CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC = 1527;
    public static final int CUDNN_ATTR_REDUCTION_OPERATOR = 1600;
    public static final int CUDNN_ATTR_REDUCTION_COMP_TYPE = 1601;
    public static final int CUDNN_ATTR_OPERATION_REDUCTION_XDESC = 1610;
    public static final int CUDNN_ATTR_OPERATION_REDUCTION_YDESC = 1611;
    public static final int CUDNN_ATTR_OPERATION_REDUCTION_DESC = 1612;
    public static final int CUDNN_ATTR_OPERATION_RESHAPE_XDESC = 2200;
    public static final int CUDNN_ATTR_OPERATION_RESHAPE_YDESC = 2201;
    public static final int CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION = 2702;

    public static final int CUDNN_POINTWISE_ADD = 0;
    public static final int CUDNN_POINTWISE_MUL = 1;
    public static final int CUDNN_POINTWISE_DIV = 6;
    public static final int CUDNN_POINTWISE_SUB = 9;
    public static final int CUDNN_POINTWISE_EXP = 13;
    public static final int CUDNN_POINTWISE_LOG = 15;
    public static final int CUDNN_POINTWISE_CMP_GT = 302;
    public static final int CUDNN_POINTWISE_CMP_GE = 303;
    public static final int CUDNN_POINTWISE_CMP_LT = 304;
    public static final int CUDNN_POINTWISE_LOGICAL_AND = 400;
    public static final int CUDNN_POINTWISE_GEN_INDEX = 501;
    public static final int CUDNN_POINTWISE_BINARY_SELECT = 601;

    public static final int CUDNN_REDUCE_TENSOR_ADD = 0;
    public static final int CUDNN_REDUCE_TENSOR_MAX = 3;

    public static final int CUDNN_HEUR_MODE_FALLBACK = 2;
    public static final int CUDNN_HEUR_MODE_A = 3;

    public static final int CUDNN_KNOB_TYPE_STAGES = 14;
    public static final int CUDNN_KNOB_TYPE_KERNEL_CFG = 24;
    public static final int CUDNN_KNOB_TYPE_TILE_CGA_M = 27;
    public static final int CUDNN_KNOB_TYPE_STREAM_K = 38;
    public static final int CUDNN_KNOB_TYPE_TILE_M = 40;
    public static final int CUDNN_KNOB_TYPE_TILE_N = 41;
}
