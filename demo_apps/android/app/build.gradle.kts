plugins {
    alias(libs.plugins.android.application) // from version 9 on it compiles Kotlin by itself
    alias(libs.plugins.compose)
}

android {
    namespace = "org.edgestyle.demo"
    compileSdk = 36

    defaultConfig {
        applicationId = "org.edgestyle.demo"
        minSdk = 29
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
    }

    buildFeatures {
        compose = true
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    androidResources {
        noCompress += "tflite" // LiteRT maps the file into memory as it lies in the package
    }
}

dependencies {
    implementation(platform(libs.compose.bom))
    implementation(libs.compose.material3)
    implementation(libs.activity.compose)
    implementation(libs.lifecycle.runtime.compose)
    implementation(libs.lifecycle.viewmodel.compose)
    implementation(libs.camera.core)
    implementation(libs.camera.camera2)
    implementation(libs.camera.lifecycle)
    implementation(libs.coroutines.android)
    implementation(libs.litert)
    implementation(libs.litert.gpu)

    androidTestImplementation(libs.test.ext.junit)
    androidTestImplementation(libs.test.runner)
}
